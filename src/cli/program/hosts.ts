/** The options of the commands about hosts. */
import type { Command } from 'commander';
import { collect, orDefault, rate, wholeNumber } from './values.ts';

export function addHostCommands(program: Command): void {
  const hosts = program.command('hosts').description('register hosts and look after them');

  hosts
    .command('list')
    .description('list the registered hosts')
    .option('--label <name=value>', 'only with this label; can be repeated', collect, [])
    .option('--json', 'as JSON')
    .action(async (options) => (await import('../hosts.ts')).listHosts(options));

  hosts
    .command('get')
    .description('show a host')
    .argument('<name>')
    .action(async (name) => (await import('../hosts.ts')).getHost(name));

  hosts
    .command('set')
    .alias('add')
    .description('register a host, or change what is given of it')
    .argument('<name>')
    .option('--address <host:port>', 'where its agent listens')
    .option('--token <token>', "its agent's token; others on this machine may see it in `ps`")
    .option('--token-file <file>', 'the same, from a file')
    .option('--fingerprint <hex>', 'sha256 of its certificate')
    .option('--ca <file>', 'the authority of its certificate, PEM')
    .option('--pin', 'take the certificate that it shows first (the default for a new host)')
    .option('--insecure', 'take any certificate')
    .option(
      '--rate <n/time>',
      'requests to its agent in a time: 100/60s, 5/s; `default` takes it back',
      orDefault(rate),
    )
    .option('--burst <n>', 'with --rate: how many of them may come at once', wholeNumber)
    .option('--max-requests <n>', 'requests to its agent at once; `default` is 4', orDefault(wholeNumber))
    .option('--max-jobs <n>', 'jobs on it at once; `default` is any number', orDefault(wholeNumber))
    .option('--label <name=value>', 'label it; can be repeated', collect, [])
    .option('--allow-user <user>', 'only these users; can be repeated', collect, [])
    .option('--no-launcher', 'Base agents: send commands as they are')
    .action(async (name, options) => (await import('../hosts.ts')).setHost(name, options));

  hosts
    .command('import')
    .description('register the hosts of a file, YAML or CSV, and change those that are registered')
    .argument('<file>', 'with the fields of the API; CSV with a header')
    .option('--dry-run', 'only read the file, and say what it sets')
    .action(async (file, options) => (await import('../hosts/import.ts')).importHosts(file, options));

  hosts
    .command('remove')
    .description('remove a host that has no active jobs')
    .argument('<name>')
    .action(async (name) => (await import('../hosts.ts')).removeHost(name));

  hosts
    .command('check')
    .description('ask its agent now, and say what to do about what is wrong')
    .argument('<name>')
    .option('--json', 'as JSON')
    .action(async (name, options) => (await import('../hosts.ts')).checkHost(name, options));

  hosts
    .command('drain')
    .description('start nothing new on it; running jobs go on')
    .argument('<name>')
    .action(async (name) => (await import('../hosts.ts')).drainHost(name));

  hosts
    .command('resume')
    .description('start jobs on it again')
    .argument('<name>')
    .action(async (name) => (await import('../hosts.ts')).resumeHost(name));

  hosts
    .command('trust')
    .description('pin the certificate that it shows now')
    .argument('<name>')
    .action(async (name) => (await import('../hosts.ts')).trustHost(name));
}
