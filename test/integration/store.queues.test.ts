/** The repeating job of a host, as several processes set it. */
import { afterAll, beforeAll, expect, it } from 'vitest';
import { createQueues, type Queues } from '../../src/store/queues.ts';
import { startRedis, type TestRedis } from '../helpers/redis.ts';
import { openStores, type Stores } from '../helpers/stores.ts';

let redis: TestRedis;
let stores: Stores;
const processes: Queues[] = [];

beforeAll(async () => {
  redis = await startRedis();
  stores = await openStores(redis.url);
  for (let i = 0; i < 2; i++) processes.push(createQueues(stores.redis, stores.keys.queuePrefix));
});

afterAll(async () => {
  for (const one of processes) await one.close();
  await stores?.close();
  await redis?.stop();
});

const repetitions = () =>
  stores.redis.zrange(`${stores.keys.queuePrefix}:poll:repeat`, 0, '-1', 'WITHSCORES');

it('a repetition that another process removed is set again', async () => {
  const [one, other] = processes as [Queues, Queues];
  await one.schedules.set('web1', { everyMs: 5_000, firstInMs: 5_000 });
  await other.schedules.remove('web1');
  expect(await repetitions()).toEqual([]);
  await one.schedules.set('web1', { everyMs: 5_000, firstInMs: 5_000 });
  expect((await repetitions())[0]).toBe('web1');
});

it('a repetition that is as wanted is left alone, so that it comes in time', async () => {
  const [one, other] = processes as [Queues, Queues];
  await one.schedules.set('web2', { everyMs: 60_000, firstInMs: 60_000 });
  const before = await repetitions();
  for (let i = 0; i < 5; i++) await other.schedules.set('web2', { everyMs: 60_000, firstInMs: 60_000 });
  expect(await repetitions()).toEqual(before);
});
