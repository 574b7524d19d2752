/**
 * The commands and their options. What a command does is loaded when it is called, so that `--help` and the small
 * ones start quickly; this file imports nothing of the gateway.
 */
import { Command } from 'commander';
import { addBatchCommands } from './program/batches.ts';
import { addHostCommands } from './program/hosts.ts';
import { addJobCommands } from './program/jobs.ts';
import { addKeyCommands } from './program/keys.ts';
import { addServerCommands, isServer } from './program/servers.ts';
import { packageVersion } from './version.ts';

export async function run(argv: string[]): Promise<void> {
  const program = new Command('sluice')
    .description(
      'A job gateway: runs commands on many hosts; nothing acknowledged is lost, nothing is started twice.',
    )
    .version(packageVersion())
    .enablePositionalOptions()
    .showSuggestionAfterError()
    .hook('preAction', (_, command) => {
      if (!isServer(command)) endWithReader();
    });
  addServerCommands(program);
  addJobCommands(program);
  addBatchCommands(program);
  addHostCommands(program);
  addKeyCommands(program);
  try {
    await program.parseAsync(argv);
  } catch (error) {
    const { reportFailure } = await import('./failure.ts');
    reportFailure(error);
  }
}

/** As any tool of a shell ends with SIGPIPE: `sluice list | head -1` has all it wants after one line. */
function endWithReader(): void {
  for (const stream of [process.stdout, process.stderr]) {
    stream.on('error', (error: NodeJS.ErrnoException) => {
      if (error.code !== 'EPIPE') throw error;
      process.exit(128 + 13);
    });
  }
}
