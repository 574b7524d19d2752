/** The wake-ups of a host and its repeating job, as several processes set them. */
import { Queue, Worker } from 'bullmq';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { createQueues, QUEUES, type Queues } from '../../src/store/queues.ts';
import { startRedis, type TestRedis } from '../helpers/redis.ts';
import { openStores, type Stores } from '../helpers/stores.ts';
import { until } from '../helpers/until.ts';

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

describe('a host that is late', () => {
  const place = () => ({ connection: stores.redis, prefix: stores.keys.queuePrefix });

  async function looksAt(host: string): Promise<number> {
    const queue = new Queue(QUEUES.dispatch, place());
    const jobs = await queue.getJobs(['active', 'waiting', 'prioritized', 'delayed']);
    await queue.close();
    return jobs.filter(({ data }) => data.host === host).length;
  }

  it('is woken where its wake-up was lost, and where the one that there is comes later', async () => {
    const [{ wake }] = processes as [Queues];
    await wake.dispatchIfForgotten('forgotten');
    expect(await looksAt('forgotten')).toBe(1);
    await wake.dispatch('delayed', 60_000);
    await wake.dispatchIfForgotten('delayed');
    expect(await looksAt('delayed')).toBe(2);
  });

  it('is left alone while a look at it waits, whoever asked for it', async () => {
    const [{ wake }] = processes as [Queues];
    await wake.dispatch('waiting');
    await wake.dispatchBehind('behind');
    for (const host of ['waiting', 'behind']) {
      await wake.dispatchIfForgotten(host);
      expect(await looksAt(host)).toBe(1);
    }
  });

  it('is woken where the look that there was is gone, though its trace is not', async () => {
    const [{ wake }] = processes as [Queues];
    await stores.redis.set(`${stores.keys.queuePrefix}:dispatch:de:traced`, '4711');
    await wake.dispatchIfForgotten('traced');
    expect(await looksAt('traced')).toBe(1);
  });

  it('is woken though a look is under way, which may be stuck', async () => {
    const [{ wake }] = processes as [Queues];
    let begun = 0;
    let end = () => {};
    const atWork = new Promise<void>((resolve) => (end = resolve));
    await wake.dispatch('attended');
    const run = async ({ data }: { data: { host: string } }) => {
      if (data.host !== 'attended') return;
      begun++;
      await atWork;
    };
    // A connection of its own: a worker blocks it.
    const connection = stores.redis.duplicate({ maxRetriesPerRequest: null });
    const worker = new Worker(QUEUES.dispatch, run, { ...place(), connection, concurrency: 10 });
    await until(() => begun === 1, { what: 'the look' });
    await wake.dispatchIfForgotten('attended');
    await until(() => begun === 2, { what: 'the next look' });
    end();
    await worker.close();
    connection.disconnect();
  });
});
