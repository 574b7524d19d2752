/** The options of the commands that run a program. */
import type { Command } from 'commander';
import { wholeNumber } from './values.ts';

export function addServerCommands(program: Command): void {
  tlsOptions(
    program
      .command('up')
      .description('run a whole gateway on this machine, with a Redis of its own unless REDIS_URL is set')
      .option('--listen <host:port>', 'address of the API (default 127.0.0.1:7788)')
      .option(
        '--data <dir>',
        'where everything is kept (default /var/lib/sluice for root, else ~/.local/share/sluice)',
      )
      .option('--agent <host:port>', 'also run an agent on this machine, as the host `local`'),
  ).action(async (options) => (await import('../up.ts')).up(options));

  tlsOptions(
    program
      .command('api')
      .description('run the HTTP API (needs REDIS_URL and SLUICE_SECRET_KEY_FILE)')
      .option('--listen <host:port>', 'address of the API (default 127.0.0.1:7788)'),
  ).action(async (options) => (await import('../serve.ts')).serveApi(options));

  program
    .command('worker')
    .description('run the workers (needs REDIS_URL and SLUICE_SECRET_KEY_FILE)')
    .action(async () => (await import('../serve.ts')).serveWorkers());

  program
    .command('agent')
    .description('run the host agent')
    .requiredOption('--listen <host:port>', 'where gateways reach it')
    .requiredOption('--data <dir>', 'where jobs, output and its certificate are kept')
    .requiredOption('--token-file <file>', 'the token that gateways show; made if there is none')
    .option(
      '--policy <file>',
      'who may be run as whom (default /etc/sluice/agent-policy.json, if it is there)',
    )
    .option('--cgroup <dir|own>', 'a cgroup v2 directory of its own, for sure kills')
    .option('--max-jobs <n>', 'how many jobs may run at once', wholeNumber)
    .option('--max-output <size>', 'how much of each stream of a job is kept; 0 is all (default: 1G)')
    .action(async (options) => (await import('../agent.ts')).serveAgent(options));

  program
    .command('check')
    .description('check what a gateway needs, and say what to do about what is missing')
    .option('--store', 'only Redis and the secret key: the health check of a worker')
    .option('--ready', 'only whether the API is ready: its health check')
    .action(async (options) => (await import('../check.ts')).check(options));
}

/** Whether it runs until it is asked to stop: it has more to end than itself, and does not go with a reader. */
export function isServer(command: Command): boolean {
  return ['up', 'api', 'worker', 'agent'].includes(command.name());
}

function tlsOptions(command: Command): Command {
  return command
    .option('--tls-cert <file>', 'certificate chain of the API, PEM')
    .option('--tls-key <file>', 'its private key, PEM')
    .option('--tls-client-ca <file>', 'callers must show a certificate of this authority, PEM');
}
