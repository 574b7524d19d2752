/** The options of the commands about keys. */
import type { Command } from 'commander';
import { collect } from './values.ts';

export function addKeyCommands(program: Command): void {
  program
    .command('env')
    .description('print the gateway and its key for a shell: eval "$(sluice env)"')
    .action(async () => (await import('../env.ts')).printEnv());

  const keys = program
    .command('keys')
    .description('API keys, and the secret key (on the machine that holds it)');

  keys
    .command('create')
    .description('make an API key; it is shown once')
    .argument('<name>')
    .requiredOption(
      '--scope <scope>',
      'what it may do, such as jobs:submit or admin; can be repeated',
      collect,
      [],
    )
    .requiredOption('--host <pattern>', 'on which hosts, such as `web*`; can be repeated', collect, [])
    .option('--user <user>', 'as which users, `*` for every named one; can be repeated', collect, [])
    .option('--own-user', "also as the agent's own user (root, by custom)")
    .action(async (name, options) => (await import('../keys.ts')).createKey(name, options));

  keys
    .command('list')
    .description('list API keys')
    .action(async () => (await import('../keys.ts')).listKeys());

  keys
    .command('revoke')
    .description('revoke an API key, by its id or name')
    .argument('<key>')
    .action(async (key) => (await import('../keys.ts')).revokeKey(key));

  keys
    .command('secret')
    .description('print a new secret key, for SLUICE_SECRET_KEY_FILE')
    .action(async () => (await import('../keys.ts')).printSecret());
}
