/** `GET /v1/batches/{id}/explain`, and what a job says that its batch holds back. */
import { afterAll, beforeAll, beforeEach, expect, test } from 'vitest';
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
  await api.stop();
  await stores.close();
  await redis.stop();
});
beforeEach(async () => {
  await stores.redis.flushall();
});

const explain = async (id: string) => (await api.call('GET', `/v1/batches/${id}/explain`)).body;
const names = (count: number) => Array.from({ length: count }, (_, i) => `web${i + 1}`);

test('a batch whose places are taken says so, and names the hosts that it waits for, folded, by what they are up to', async () => {
  const hosts = names(6);
  await down('web5', 'web6');
  await stores.redis.zadd(stores.keys.hostsIn('draining'), Date.now(), 'web4');
  const begun = await batch.begin(hosts, { max_parallel: 3, max_unreachable: 4 });
  await batch.start(begun, 'web1');
  await batch.start(begun, 'web2');
  expect(await explain(begun.id)).toMatchObject({
    batch_id: begun.id,
    state: 'running',
    waiting_for: 'max_parallel',
    message: '3 of 3 places (max_parallel) are taken: the next job comes when one of them is over.',
    max_parallel: { in_use: 3, of: 3 },
    wave: { number: 1, made: 3, of: 6 },
    hosts: [
      { why: 'busy', count: 1, hosts: 'web3' },
      { why: 'running', count: 2, hosts: 'web[1-2]' },
    ],
  });

  for (const host of ['web1', 'web2', 'web3']) await batch.end(begun, host, host === 'web3' ? 1 : 0);
  expect(await explain(begun.id)).toMatchObject({
    waiting_for: 'hosts',
    max_parallel: { in_use: 1 },
    max_failures: { counted: 1, of: null },
    max_unreachable: { counted: 2, of: 4 },
    hosts: [
      { why: 'down', count: 2, hosts: 'web[5-6]' },
      { why: 'draining', count: 1, hosts: 'web4' },
    ],
  });
});

test('a paused batch says who paused it, and a limit that it was the limit', async () => {
  const begun = await batch.begin(names(2), {
    created_by: 'admin',
    max_parallel: 1,
    max_failures: 0,
    on_limit: 'pause',
  });
  await api.call('POST', `/v1/batches/${begun.id}:pause`);
  expect(await explain(begun.id)).toMatchObject({
    ...{ state: 'paused', waiting_for: 'resume', paused_by: 'admin', stopped_because: null },
    message: expect.stringMatching(/^It is paused since .* by admin\./),
  });
  await api.call('POST', `/v1/batches/${begun.id}:resume`);
  await batch.end(begun, 'web1', 1);
  expect(await explain(begun.id)).toMatchObject({
    ...{ waiting_for: 'resume', paused_by: null, stopped_because: 'max_failures' },
    max_failures: { counted: 1, of: 0 },
    message: expect.stringMatching(
      /^1 ended wrong, more than max_failures allows \(0\); it is paused since /,
    ),
  });
});

test('names of hosts are cut at a bound, and counted whole', async () => {
  // Nothing of these names folds.
  const hosts = Array.from(
    { length: 700 },
    (_, i) =>
      `host-${Buffer.from(`${i}`)
        .toString('hex')
        .replace(/\d/g, (d) => 'abcdefghij'[Number(d)] ?? '')}`,
  );
  const begun = await batch.begin(hosts, { max_parallel: 1_000 });
  const { hosts: groups } = (await explain(begun.id)) as { hosts: { count: number; hosts: string }[] };
  expect(groups).toHaveLength(1);
  expect(groups[0]?.count).toBe(700);
  expect(groups[0]?.hosts.length).toBeLessThanOrEqual(4_099);
  expect(groups[0]?.hosts.endsWith('...')).toBe(true);
});

test('a batch of another key is not found', async () => {
  const begun = await batch.begin(names(1));
  const token = await api.key('stranger', { scopes: ['jobs:read'] });
  expect((await api.call('GET', `/v1/batches/${begun.id}/explain`, { token })).status).toBe(404);
});

test('a job that its batch holds back says so', async () => {
  await stores.hosts.put('web1', { address: '127.0.0.1:1', token: 'a-token' });
  const begun = await batch.begin(names(1));
  await batch.batches.order(begun.id, { kind: 'pause' });
  const job = await batch.jobOf(begun, 'web1');
  // A worker would start it, and is refused.
  expect(await stores.jobs.transition(job, 'queued', 'dispatching', { why: 'a test', attempt: 1 })).toBe(
    false,
  );
  const { body } = await api.call('GET', `/v1/jobs/${job.id}/explain`);
  expect(body).toMatchObject({
    waiting_for: 'batch',
    message: `Its batch ${begun.id} is paused: it starts once that is resumed.`,
    position: null,
  });
});

async function down(...hosts: string[]): Promise<void> {
  for (const host of hosts) await stores.redis.zadd(stores.keys.hostsIn('down'), Date.now(), host);
}
