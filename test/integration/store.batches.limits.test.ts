/** What a batch counts for its limits after it was resumed. */
import { afterAll, beforeAll, expect, it } from 'vitest';
import type { Batch } from '../../src/job/batch.ts';
import { type BatchByHand, createBatchByHand } from '../helpers/batch-by-hand.ts';
import { startRedis, type TestRedis } from '../helpers/redis.ts';
import { openStores, type Stores } from '../helpers/stores.ts';
import { until } from '../helpers/until.ts';

let redis: TestRedis;
let stores: Stores;
let batch: BatchByHand;

beforeAll(async () => {
  redis = await startRedis();
  stores = await openStores(redis.url);
  batch = createBatchByHand(stores);
});
afterAll(async () => {
  await stores?.close();
  await redis?.stop();
});

it('hosts that come back after a resume make no room for others that go', async () => {
  const limits = { max_unreachable: 1, on_limit: 'pause' } as const;
  const begun = await batch.begin(['web1', 'web2', 'web3', 'web4'], limits);
  expect(await seen(begun, { down: ['web1', 'web2'] })).toMatchObject({ stopped_because: 'max_unreachable' });
  await batch.batches.order(begun.id, { kind: 'resume' });
  expect(await seen(begun, { down: ['web1', 'web2', 'web3'] })).toMatchObject({ state: 'running' });
  expect(await seen(begun, { down: [] })).toMatchObject({ state: 'running' });
  expect(await seen(begun, { down: ['web3'] })).toMatchObject({ state: 'running' });
  expect(await seen(begun, { down: ['web3', 'web4'] })).toMatchObject({
    state: 'paused',
    stopped_because: 'max_unreachable',
  });
});

it('of many hosts that are away, more are noticed within a moment, and those that came back are not counted', async () => {
  const hosts = Array.from({ length: 300 }, (_, i) => `db${i}`);
  const begun = await batch.begin(hosts, { max_unreachable: 230, on_limit: 'pause' });
  expect(await seen(begun, { down: hosts.slice(0, 220) })).toMatchObject({ state: 'running' });
  expect(await seen(begun, { down: [] })).toMatchObject({ state: 'running' });
  expect(await seen(begun, { down: hosts.slice(0, 229) })).toMatchObject({ state: 'running' });
  await until(async () => (await seen(begun, { down: hosts.slice(0, 240) })).state === 'paused');
  expect(await batch.read(begun.id)).toMatchObject({ stopped_because: 'max_unreachable' });
});

/** The batch once somebody has gone on with it, with these hosts down. */
async function seen({ id }: Batch, { down }: { down: string[] }): Promise<Batch> {
  const key = stores.keys.hostsIn('down');
  await stores.redis.del(key);
  for (const host of down) await stores.redis.zadd(key, Date.now(), host);
  await batch.proceed(id);
  return batch.read(id);
}
