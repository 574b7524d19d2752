/** What is read of BullMQ's own structures, compared with what BullMQ does: a change there must not pass unnoticed. */
import { Worker } from 'bullmq';
import { afterAll, beforeAll, beforeEach, expect, it } from 'vitest';
import { nextDue, overdueMs } from '../../src/store/queues/watch.ts';
import { createQueues, NUDGE, type Queues } from '../../src/store/queues.ts';
import { startRedis, type TestRedis } from '../helpers/redis.ts';
import { openStores, type Stores } from '../helpers/stores.ts';
import { until } from '../helpers/until.ts';

let redis: TestRedis;
let stores: Stores;
let queues: Queues;
let prefix: string;

beforeAll(async () => {
  redis = await startRedis();
  stores = await openStores(redis.url);
  prefix = stores.keys.queuePrefix;
  queues = createQueues(stores.redis, prefix);
});
afterAll(async () => {
  await queues?.close();
  await stores?.close();
  await redis?.stop();
});
beforeEach(async () => {
  await stores.redis.flushall();
});

const late = () => overdueMs(stores.redis, prefix, 'dispatch');
const next = () => nextDue(stores.redis, prefix, 'dispatch');

it('an empty queue has nothing due, and is not late', async () => {
  expect(await next()).toBeNull();
  expect(await late()).toBe(0);
});

it('what waits is due, and is the same until it is fetched', async () => {
  await queues.wake.dispatch('web1');
  await queues.wake.dispatch('web2');
  const first = await next();
  expect(first).not.toBeNull();
  expect(await next()).toBe(first);
  const seen: (string | undefined)[] = [];
  const worker = new Worker('dispatch', async ({ id }) => void seen.push(id), {
    connection: stores.redis,
    prefix,
  });
  worker.on('error', () => undefined);
  await until(() => seen.length === 2);
  expect(seen[0]).toBe(first);
  await until(async () => (await next()) === null);
  await worker.close();
});

it('what is delayed becomes due in its time, and is late from then on', async () => {
  const began = Date.now();
  await queues.wake.dispatch('web1', 700);
  expect(await next()).toBeNull();
  expect(await late()).toBe(0);
  const due = await until(next);
  expect(Date.now() - began).toBeGreaterThanOrEqual(690);
  expect(await next()).toBe(due);
  await until(async () => (await late()) > 300);
  expect(await late()).toBeLessThan(Date.now() - began);
});

it('the next repetition of a host counts as delayed work', async () => {
  await queues.schedules.set('web1', { everyMs: 60_000, firstInMs: 60_000 });
  expect(await nextDue(stores.redis, prefix, 'poll')).toBeNull();
  expect(await overdueMs(stores.redis, prefix, 'poll')).toBe(0);
});

it('a nudge is one job at most, however often it comes', async () => {
  for (let i = 0; i < 3; i++) await queues.nudge('deliver');
  expect(await stores.redis.llen(`${prefix}:deliver:wait`)).toBe(1);
  const id = await nextDue(stores.redis, prefix, 'deliver');
  expect(await stores.redis.hget(`${prefix}:deliver:${id}`, 'name')).toBe(NUDGE);
});
