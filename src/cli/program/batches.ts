/** The options of `run` and of the commands about batches. */
import { type Command, Option } from 'commander';
import { addJobOptions } from './job-options.ts';
import { collect, commaSeparated, secondsOrManual, share, shares, wholeNumber } from './values.ts';

export function addBatchCommands(program: Command): void {
  addRun(program);
  const batch = program.command('batch').description('look after what runs on many hosts');

  batch
    .command('list')
    .description('list batches, newest first')
    .option('--label <name=value>', 'only with this label; can be repeated', collect, [])
    .option('--limit <n>', 'at most so many', wholeNumber, 20)
    .option('--json', 'as JSON')
    .action(async (options) => (await import('../batches.ts')).listBatches(options));

  batch
    .command('get')
    .description('show a batch')
    .argument('<id>')
    .action(async (id) => (await import('../batches.ts')).getBatch(id));

  batch
    .command('jobs')
    .description('list the jobs of a batch')
    .argument('<id>')
    .option('--state <state>', 'only in this state; can be repeated', collect, [])
    .option('--limit <n>', 'at most so many', wholeNumber, 20)
    .option('--json', 'as JSON')
    .action(async (id, options) => (await import('../batches.ts')).listBatchJobs(id, options));

  batch
    .command('wait')
    .description('stay with a batch to its end, as `run` does')
    .argument('<id>')
    .addOption(quiet())
    .action(async (id, options) => (await import('../batches.ts')).waitForBatch(id, options));

  batch
    .command('output')
    .description('show its output, hosts with the same one together; also while it runs')
    .argument('<id>')
    .option('--json', 'as JSON')
    .action(async (id, options) => (await import('../batches.ts')).showOutput(id, options));

  batch
    .command('pause')
    .description('start nothing new; what runs goes on')
    .argument('<id>')
    .action(async (id) => (await import('../batches.ts')).pauseBatch(id));

  batch
    .command('resume')
    .description('go on with a batch that is paused; its limits count anew')
    .argument('<id>')
    .action(async (id) => (await import('../batches.ts')).resumeBatch(id));

  batch
    .command('cancel')
    .description('start nothing new, and cancel what runs')
    .argument('<id>')
    .option('--reason <text>', 'for the record')
    .action(async (id, options) => (await import('../batches.ts')).cancelBatch(id, options));

  batch
    .command('retry')
    .description('run it again, as a new batch, on the hosts where it did not succeed')
    .argument('<id>')
    .option('--scope <states>', 'where it stands so; a lost one may still run', commaSeparated, [
      'failed',
      'timed_out',
      'expired',
      'canceled',
      'unstarted',
    ])
    .option('--idempotency-key <key>', 'the same key again is the same new batch')
    .option('--detach', 'print its id, and do not wait for it')
    .addOption(quiet())
    .action(async (id, options) => (await import('../batches.ts')).retryBatch(id, options));
}

function addRun(program: Command): void {
  const run = program
    .command('run')
    .description('run a command on many hosts, and show what they say')
    .argument('<command...>', 'the shell command line; after `--` where it has options of its own')
    .option('--hosts <names>', "such as 'web[001-120],db[1,3]'; can be repeated", collect, [])
    .option(
      '--label <name=value>',
      'the hosts with this label; can be repeated: with all of them',
      collect,
      [],
    )
    .option('--all', 'all hosts')
    .option('--exclude <names>', 'but not these; can be repeated', collect, [])
    .option('--dry-run', 'only list the hosts')
    .option('--json', 'with --dry-run: as JSON')
    .option('--max-parallel <n|p%>', 'on so many at once (default: 50)', share)
    .option('--waves <sizes>', 'on so many first, such as 1,10%,50%; the last one repeats', shares)
    .option('--wave-pause <seconds>', 'between waves; `manual` waits for `batch resume`', secondsOrManual)
    .option('--max-failures <n|p%>', 'more that fail: nothing new is started', share)
    .option('--max-unreachable <n|p%>', 'more that do not answer: nothing new is started', share)
    .option('--on-limit <what>', 'and then stop (default), pause, or cancel what runs, too')
    .option(
      '--start-deadline <seconds>',
      'each starts within so long, or not at all (default: 600)',
      wholeNumber,
    )
    .option('--set-label <name=value>', 'label the batch and its jobs; can be repeated', collect, []);
  addJobOptions(run)
    .option('--idempotency-key <key>', 'the same key and command again is the same batch')
    .option('--detach', 'print its id, and do not wait for it')
    .addOption(quiet())
    .showHelpAfterError(
      "(options of the command itself stand after `--`: sluice run --hosts 'web[1-9]' -- ls -l)",
    )
    .action(async (words, options) => (await import('../run.ts')).run(words, options));
}

function quiet(): Option {
  return new Option('-q, --quiet', 'the output only, and how it ended if it did not succeed');
}
