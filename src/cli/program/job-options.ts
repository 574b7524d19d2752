/** The options that set what runs and how, for one host as for many. */
import type { Command } from 'commander';
import { collect, commaSeparated, wholeNumber } from './values.ts';

export function addJobOptions(command: Command): Command {
  return command
    .option('--mode <mode>', 'sync, async (default) or tmux')
    .option('--user <user>', "the unix user to run as (default: the agent's own)")
    .option('--env <name=value>', 'add to its environment; can be repeated', collect, [])
    .option('--workdir <dir>', 'where it runs')
    .option('--shell <path>', 'what runs it')
    .option('--timeout <seconds>', 'end it after so long', wholeNumber)
    .option('--priority <0-9>', 'higher first, among the jobs of its host (default: 5)', wholeNumber)
    .option('--retry <attempts>', 'run it again where it fails, so often in all', wholeNumber)
    .option('--retry-backoff <seconds>', 'before the second attempt; it doubles (default: 10)', wholeNumber)
    .option(
      '--retry-on <causes>',
      'of exit,signal,timeout,spawn_error,reboot (default: exit,signal,spawn_error)',
      commaSeparated,
    )
    .option('--unique-key <key>', 'at most one with this key is at work')
    .option('--on-duplicate <what>', 'where another one is: attach (default), reject or replace it')
    .option('--callback-url <url>', 'tell this address of its end');
}
