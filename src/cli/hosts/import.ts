/** `sluice hosts import FILE`: registers what a file lists, and changes what is registered already. */
import { type Client, createClient } from '../client.ts';
import { Failure } from '../failure.ts';
import { printTable } from '../terminal.ts';
import { type HostEntry, readHostFile } from './host-file.ts';

/** What one request may carry: hosts, and bytes, of which the API takes 1 MiB and certificates are many. */
const AT_ONCE = 500;
const BYTES_AT_ONCE = 512 * 1024;

interface Result {
  name: string;
  result: 'created' | 'changed' | 'refused';
  code: string | null;
  detail: string | null;
}

export async function importHosts(file: string, options: { dryRun?: boolean }): Promise<void> {
  const entries = readHostFile(file);
  if (options.dryRun) {
    const rows = entries.map(({ host: { name, ...host } }) => [name, Object.keys(host).join(', ')]);
    printTable([['NAME', 'SETS'], ...rows]);
    return;
  }
  const client = createClient();
  const counts = { created: 0, changed: 0, refused: 0 };
  try {
    for (const batch of batchesOf(entries)) {
      for (const { name, result, code, detail } of await put(client, batch)) {
        counts[result]++;
        if (result === 'refused') process.stderr.write(`sluice: ${name}: ${code}: ${detail}\n`);
      }
    }
  } finally {
    // Also where a later request is refused: what went before it is done.
    const { created, changed, refused } = counts;
    process.stdout.write(`${created} created, ${changed} changed, ${refused} refused\n`);
  }
  if (counts.refused > 0) process.exitCode = 1;
}

function batchesOf(entries: HostEntry[]): HostEntry[][] {
  const batches: HostEntry[][] = [];
  let room = 0;
  for (const entry of entries) {
    const bytes = Buffer.byteLength(JSON.stringify(entry.host)) + 1;
    const last = batches.at(-1);
    if (last && last.length < AT_ONCE && bytes <= room) {
      last.push(entry);
      room -= bytes;
    } else {
      batches.push([entry]);
      room = BYTES_AT_ONCE - bytes;
    }
  }
  return batches;
}

/** @throws Failure that names the entry which the request was refused for */
async function put(client: Client, batch: HostEntry[]): Promise<Result[]> {
  const body = { items: batch.map(({ host }) => host) };
  try {
    return (await client.request<{ items: Result[] }>('PUT', '/v1/hosts', { body })).items;
  } catch (error) {
    const [, index] = /\bitems\.(\d+)\b/.exec((error as Error).message) ?? [];
    const entry = batch[Number(index)];
    if (!(error instanceof Failure) || !entry) throw error;
    const why = error.message.replaceAll(`items.${index}.`, '').replaceAll(`items.${index}`, 'it');
    throw new Failure(`${entry.where} (${entry.host.name}): ${why}`);
  }
}
