/** What only the sweep brings back. */
import { afterAll, beforeAll, expect, it } from 'vitest';
import type { Workers } from '../../src/workers/main.ts';
import { startRedis, type TestRedis } from '../helpers/redis.ts';
import { newJob, openStores, type Stores } from '../helpers/stores.ts';
import { until } from '../helpers/until.ts';
import { startTestWorkers } from '../helpers/workers.ts';

let redis: TestRedis;
let stores: Stores;
let workers: Workers;

beforeAll(async () => {
  redis = await startRedis();
  stores = await openStores(redis.url);
});

afterAll(async () => {
  await workers?.close();
  await stores?.close();
  await redis?.stop();
});

it('starts that nobody has in hand are brought back, however many there are', async () => {
  const many = 600;
  const starts = Array.from({ length: many }, async () => {
    const job = await stores.submit(newJob({ host: 'nobody', command: 'true' }));
    await stores.jobs.transition(job, 'queued', 'dispatching', { attempt: 1, why: 'starting' });
  });
  await Promise.all(starts);
  expect(await stores.redis.zcard(stores.keys.mailbox('nobody'))).toBe(0);
  workers = await startTestWorkers(redis.url, stores);
  await until(async () => (await stores.redis.zcard(stores.keys.mailbox('nobody'))) === many, {
    timeoutMs: 20_000,
  });
});
