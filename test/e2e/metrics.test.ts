/** Metrics as an operator scrapes them: of `sluice up`, and of a worker by itself. */
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { type AddressInfo, createServer } from 'node:net';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { cleanEnvironment, runSluice, startGateway, type TestGateway } from '../helpers/gateway.ts';
import { startRedis, type TestRedis } from '../helpers/redis.ts';
import { startSluice } from '../helpers/sluice-process.ts';

const operating = readFileSync(new URL('../../docs/operating.md', import.meta.url), 'utf8');

let gateway: TestGateway;
let redis: TestRedis;
let env: Record<string, string>;

beforeAll(async () => {
  [gateway, redis] = await Promise.all([startGateway(), startRedis()]);
  env = { REDIS_URL: redis.url, SLUICE_SECRET_KEY_FILE: join(gateway.dataDir, 'secret.key') };
});
afterAll(async () => {
  await gateway?.stop();
  await redis?.stop();
});

/** The metrics that a scrape tells of, with those that have no value yet. */
async function scrape(url: string): Promise<string[]> {
  const text = await (await fetch(`${url}/metrics`)).text();
  return [...text.matchAll(/^# TYPE (sluice_\w+) /gm)].map(([, name = '']) => name).sort();
}

function documented(...by: string[]): string[] {
  const rows = [...operating.matchAll(/^\| `(sluice_\w+)` \| \w+ \| [^|]* \| (\w+) \|/gm)];
  return rows.flatMap(([, name = '', where = '']) => (by.includes(where) ? [name] : [])).sort();
}

it('one scrape of `sluice up` tells of the API and of the workers', async () => {
  expect(await scrape(gateway.url)).toEqual(documented('both', 'api', 'worker'));
});

it('a worker by itself tells where it listens, and then what is its own', async () => {
  const listening = { ...env, SLUICE_METRICS_LISTEN: '127.0.0.1:0' };
  const worker = await startSluice(['worker'], listening, /tells how at (http:\S+)\/metrics/);
  const [, url = ''] = worker.match;
  expect(await scrape(url)).toEqual(documented('both', 'worker'));
  expect((await fetch(`${url}/readyz`)).status).toBe(200);
  await worker.kill('SIGTERM');
});

it('a worker whose address is in use says by which setting to choose another', async () => {
  const taken = createServer().listen(0, '127.0.0.1');
  await once(taken, 'listening');
  const address = `127.0.0.1:${(taken.address() as AddressInfo).port}`;
  const settings = cleanEnvironment({ ...env, SLUICE_METRICS_LISTEN: address });
  const { code, stderr } = await runSluice(['worker'], settings);
  expect([code, stderr]).toEqual([1, expect.stringContaining(`${address} is in use`)]);
  expect(stderr).toContain('SLUICE_METRICS_LISTEN');
  taken.close();
});
