/** `sluice hosts import FILE`: registers what a file lists, and changes what is registered already. */
import { createClient } from '../client.ts';
import { printTable } from '../terminal.ts';
import { readHostFile } from './host-file.ts';

/** Hosts in one request. */
const AT_ONCE = 500;

interface Result {
  name: string;
  result: 'created' | 'changed' | 'refused';
  code: string | null;
  detail: string | null;
}

export async function importHosts(file: string, options: { dryRun?: boolean }): Promise<void> {
  const items = readHostFile(file);
  if (options.dryRun) {
    printTable([['NAME', 'SETS'], ...items.map(({ name, ...host }) => [name, Object.keys(host).join(', ')])]);
    return;
  }
  const client = createClient();
  const counts = { created: 0, changed: 0, refused: 0 };
  for (let i = 0; i < items.length; i += AT_ONCE) {
    const body = { items: items.slice(i, i + AT_ONCE) };
    const { items: results } = await client.request<{ items: Result[] }>('PUT', '/v1/hosts', { body });
    for (const { name, result, code, detail } of results) {
      counts[result]++;
      if (result === 'refused') process.stderr.write(`sluice: ${name}: ${code}: ${detail}\n`);
    }
  }
  const { created, changed, refused } = counts;
  process.stdout.write(`${created} created, ${changed} changed, ${refused} refused\n`);
  if (refused > 0) process.exitCode = 1;
}
