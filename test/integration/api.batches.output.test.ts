/** `GET /v1/batches/{id}/output` by how jobs ended, which is set by hand here. */
import { afterAll, beforeAll, expect, test } from 'vitest';
import { outcome } from '../../src/job/outcome.ts';
import { startTestApi, type TestApi } from '../helpers/api.ts';
import { type BatchByHand, createBatchByHand } from '../helpers/batch-by-hand.ts';
import { startRedis, type TestRedis } from '../helpers/redis.ts';
import { openStores, type Stores } from '../helpers/stores.ts';

let redis: TestRedis;
let api: TestApi;
let stores: Stores;
let batch: BatchByHand;

beforeAll(async () => {
  redis = await startRedis();
  stores = await openStores(redis.url);
  api = await startTestApi(redis.url);
  batch = createBatchByHand(stores);
});
afterAll(async () => {
  await api?.stop();
  await stores?.close();
  await redis?.stop();
});

test('hosts that failed for another reason stand apart, and each item says why', async () => {
  const begun = await batch.begin(['web1', 'web2', 'web3', 'web4', 'web5'], { max_parallel: 4 });
  const ends = {
    web1: outcome('rejected', { message: 'web1 has no user deploy' }),
    web2: outcome('rejected', { message: 'web2 has no user deploy' }),
    web3: outcome('spawn_error', { message: 'there is no /srv' }),
  };
  for (const [host, end] of Object.entries(ends)) {
    const running = await batch.start(begun, host);
    await stores.jobs.transition(running, 'running', 'failed', { why: 'a test', outcome: end });
  }
  await batch.start(begun, 'web4');
  const { body } = await api.call('GET', `/v1/batches/${begun.id}/output`);
  const nothing = { return_code: null, stdout: null, stderr: null };
  const open = { ...nothing, outcome: null, message: null, count: 1 };
  expect(body.items).toEqual([
    {
      ...{ ...nothing, hosts: 'web[1-2]', count: 2, state: 'failed' },
      ...{ outcome: 'rejected', message: 'web1 has no user deploy' },
    },
    {
      ...{ ...nothing, hosts: 'web3', count: 1, state: 'failed' },
      ...{ outcome: 'spawn_error', message: 'there is no /srv' },
    },
    { ...open, hosts: 'web4', state: 'running' },
    { ...open, hosts: 'web5', state: 'unstarted' },
  ]);
});
