/**
 * The commands and their options. What a command does is loaded when it is called, so that `--help` and the small
 * ones start quickly; this file imports nothing of the gateway.
 */
import { Command } from 'commander';
import { addHostCommands } from './program/hosts.ts';
import { addJobCommands } from './program/jobs.ts';
import { addKeyCommands } from './program/keys.ts';
import { addServerCommands } from './program/servers.ts';
import { packageVersion } from './version.ts';

export async function run(argv: string[]): Promise<void> {
  const program = new Command('sluice')
    .description(
      'A job gateway: runs commands on many hosts; nothing acknowledged is lost, nothing is started twice.',
    )
    .version(packageVersion())
    .enablePositionalOptions()
    .showSuggestionAfterError();
  addServerCommands(program);
  addJobCommands(program);
  addHostCommands(program);
  addKeyCommands(program);
  try {
    await program.parseAsync(argv);
  } catch (error) {
    const { reportFailure } = await import('./failure.ts');
    reportFailure(error);
  }
}
