/** Stopping: in order, and within a bounded time even when Redis is away. */
import { randomBytes } from 'node:crypto';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { startFreezingProxy } from '../helpers/freezing-proxy.ts';
import { startRedis, type TestRedis } from '../helpers/redis.ts';
import { startSluice } from '../helpers/sluice-process.ts';
import { until } from '../helpers/until.ts';

let dir: string;
let redis: TestRedis;
let env: Record<string, string>;

beforeAll(async () => {
  dir = await mkdtemp(join(tmpdir(), 'sluice-stop-'));
  redis = await startRedis();
  const secretKeyFile = join(dir, 'secret.key');
  await writeFile(secretKeyFile, `${randomBytes(32).toString('base64')}\n`, { mode: 0o600 });
  env = { REDIS_URL: redis.url, SLUICE_SECRET_KEY_FILE: secretKeyFile };
});
afterAll(async () => {
  await redis?.stop();
  await rm(dir, { recursive: true, force: true });
});

it('a worker that is asked to stop ends in order', async () => {
  const worker = await startSluice(['worker'], env, /workers\.started/);
  await worker.kill('SIGTERM');
  expect(worker.output()).toContain('workers.stopped');
  expect(worker.output()).not.toContain('workers.stop_cut_short');
});

it('an API whose Redis is away ends all the same', async () => {
  const api = await startSluice(['api', '--listen', '127.0.0.1:0'], env, /api\.started/);
  await redis.kill('SIGKILL');
  await api.kill('SIGTERM');
  expect(api.output()).not.toContain('while stopping');
  await redis.restart();
});

it('a worker whose Redis is away ends all the same', async () => {
  const worker = await startSluice(['worker'], env, /workers\.started/);
  await redis.kill('SIGKILL');
  await worker.kill('SIGTERM');
  expect(worker.output()).toContain('workers.stopped');
  await redis.restart();
});

it('a worker whose Redis has fallen silent ends all the same', async () => {
  const proxy = await startFreezingProxy(redis.url);
  const worker = await startSluice(['worker'], { ...env, REDIS_URL: proxy.url }, /workers\.started/);
  proxy.freeze(() => true, { newOnesToo: true });
  // The sweep comes every second: one of its commands is now under way for ever.
  await until(async () => proxy.swallowed() > 0);
  await worker.kill('SIGTERM');
  expect(worker.output()).toContain('workers.stopped');
  await proxy.stop();
});
