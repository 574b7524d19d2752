/** The options of the commands about jobs. */
import type { Command } from 'commander';
import { addJobOptions } from './job-options.ts';
import { collect, wholeNumber } from './values.ts';

export function addJobCommands(program: Command): void {
  const submit = program
    .command('submit')
    .description('run a command on a host')
    .argument('<host>', 'its name, or host:port')
    .argument('<command...>', 'the shell command line; after `--` where it has options of its own')
    .option('--wait', "show its output as it comes, and end with the command's own code");
  addJobOptions(submit)
    .option('--label <name=value>', 'label the job; can be repeated', collect, [])
    .option('--idempotency-key <key>', 'the same key and command again is the same job')
    .option('-q, --quiet', 'with --wait: its output only, and how it ended if it did not succeed')
    .showHelpAfterError(
      '(options of the command itself stand after `--`: sluice submit HOST --wait -- ls -l)',
    )
    .action(async (host, words, options) => (await import('../submit.ts')).submit(host, words, options));

  program
    .command('get')
    .description('show a job')
    .argument('<id>')
    .action(async (id) => (await import('../jobs.ts')).get(id));

  program
    .command('explain')
    .description('say what a job or batch waits for, and when it is next tried')
    .argument('<id>')
    .option('--json', 'as JSON')
    .action(async (id, options) => (await import('../explain.ts')).explain(id, options));

  program
    .command('wait')
    .description("wait for a job's end, and end with its command's code")
    .argument('<id>')
    .action(async (id) => (await import('../jobs.ts')).wait(id));

  program
    .command('logs')
    .description("show a job's output")
    .argument('<id>')
    .option('-f, --follow', 'go on to its end')
    .option('--stderr', 'the other stream')
    .action(async (id, options) => (await import('../jobs.ts')).logs(id, options));

  program
    .command('cancel')
    .description('cancel a job')
    .argument('<id>')
    .option('--signal <name>', 'TERM by default')
    .option('--grace <seconds>', 'between the signal and SIGKILL', wholeNumber)
    .option('--reason <text>', 'for the record')
    .action(async (id, options) => (await import('../jobs.ts')).cancel(id, options));

  program
    .command('list')
    .description('list jobs, newest first')
    .option('--state <state>', 'only in this state; can be repeated', collect, [])
    .option('--host <host>', 'only of this host')
    .option('--label <name=value>', 'only with this label; can be repeated', collect, [])
    .option('--limit <n>', 'at most so many', wholeNumber, 20)
    .option('--json', 'as JSON')
    .action(async (options) => (await import('../jobs.ts')).list(options));
}
