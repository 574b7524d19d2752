/** A Redis whose password was changed under a worker: it says so, briefly and without the password, and goes on. */
import { randomBytes } from 'node:crypto';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Redis } from 'ioredis';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { freePort, redisServer } from '../helpers/redis.ts';
import { type RedisProcess, startRedisProcess } from '../helpers/redis-process.ts';
import { type SluiceProcess, startSluice } from '../helpers/sluice-process.ts';
import { until } from '../helpers/until.ts';

const PASSWORD = `old-${randomBytes(8).toString('hex')}`;
/** The lines of all connections of one worker; without restraint each would add one at each of its attempts. */
const MOST_LINES = 12;

let dir: string;
let server: RedisProcess;
let worker: SluiceProcess;
let operator: Redis;

beforeAll(async () => {
  dir = await mkdtemp(join(tmpdir(), 'sluice-login-'));
  const port = await freePort();
  const command = [...redisServer(), '--bind', '127.0.0.1', '--port', `${port}`, '--dir', dir];
  const reach = { host: '127.0.0.1', port, password: PASSWORD };
  server = await startRedisProcess([...command, '--requirepass', PASSWORD], reach);
  operator = new Redis(reach);
  const secretKeyFile = join(dir, 'secret.key');
  await writeFile(secretKeyFile, `${randomBytes(32).toString('base64')}\n`, { mode: 0o600 });
  const env = { REDIS_URL: `redis://:${PASSWORD}@127.0.0.1:${port}`, SLUICE_SECRET_KEY_FILE: secretKeyFile };
  worker = await startSluice(['worker'], env, /"msg":"workers.started"/);
});
afterAll(async () => {
  await worker?.kill('SIGTERM');
  operator?.disconnect();
  await server?.kill();
  await rm(dir, { recursive: true, force: true });
});

const connections = async () =>
  [...String(await operator.call('client', 'list')).matchAll(/ name=sluice:workers/g)].length;

it('is told once an outage and connection, shows no password, and is over when the password is back', async () => {
  const before = await connections();
  await operator.config('SET', 'requirepass', 'another');
  await operator.call('client', 'kill', 'type', 'normal', 'skipme', 'yes');
  await operator.call('client', 'kill', 'type', 'pubsub');
  const refused = async () => ((await operator.call('acl', 'log', 1)) as unknown[][])[0]?.[1];
  await until(async () => Number(await refused()) > 5 * MOST_LINES, {
    timeoutMs: 20_000,
    what: 'many attempts',
  });

  const lines = worker
    .output()
    .split('\n')
    .filter((line) => line.includes('WRONGPASS'));
  expect(lines.length).toBeGreaterThan(0);
  expect(lines.length).toBeLessThanOrEqual(MOST_LINES);
  expect(worker.output()).not.toContain(PASSWORD);

  await operator.config('SET', 'requirepass', PASSWORD);
  await until(async () => (await connections()) === before, { timeoutMs: 15_000, what: 'all connections' });
});

it('a worker that is refused ends all the same when it is asked to', async () => {
  await operator.config('SET', 'requirepass', 'another');
  await operator.call('client', 'kill', 'type', 'normal', 'skipme', 'yes');
  await operator.call('client', 'kill', 'type', 'pubsub');
  await worker.kill('SIGTERM');
  expect(worker.output()).toContain('workers.stopped');
});
