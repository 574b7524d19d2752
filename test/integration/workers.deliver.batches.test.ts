/** What is told of a batch, to whom, and when. */
import { afterAll, afterEach, beforeAll, beforeEach, expect, test } from 'vitest';
import { type BatchByHand, createBatchByHand } from '../helpers/batch-by-hand.ts';
import { CALLBACK_SECRET, createRig, deliveryOf, type Rig } from '../helpers/deliverer.ts';
import { type Receiver, startReceiver } from '../helpers/receiver.ts';
import { startRedis, type TestRedis } from '../helpers/redis.ts';
import { openStores, type Stores } from '../helpers/stores.ts';
import { until } from '../helpers/until.ts';

const OWNER = { name: 'test', admin: false };

let redis: TestRedis;
let stores: Stores;
let rig: Rig;
let batch: BatchByHand;
let receiver: Receiver;

beforeAll(async () => {
  redis = await startRedis();
});
afterAll(() => redis.stop());
beforeEach(async () => {
  stores = await openStores(redis.url);
  await stores.redis.flushall();
  rig = createRig(stores);
  rig.deliverer.start();
  batch = createBatchByHand(stores);
  receiver = await startReceiver({ secrets: [CALLBACK_SECRET] });
});
afterEach(async () => {
  await rig.stop();
  await receiver.stop();
  await stores.close();
});

/** What has arrived once everything that is in the outbox has: type, version and a few fields of its data. */
async function told(receivedBy = receiver) {
  await rig.deliverer.expand();
  await until(async () => (await stores.redis.zcard(stores.keys.deliveriesDue)) === 0);
  const ofBatches = receivedBy.received.filter(({ body }) => body.type.startsWith('batch.'));
  return ofBatches
    .map(({ body: { type, data } }) => ({ type, version: Number(data.version), wave: data.wave }))
    .sort((one, other) => one.version - other.version)
    .map(({ type, wave }) => [type, wave]);
}

test("a callback hears of a batch's end, signed, with the batch as it is then, and of nothing before it", async () => {
  const begun = await batch.begin(['web1', 'web2'], { callback_url: receiver.url, waves: [1] });
  await batch.end(begun, 'web1', 0);
  const over = await batch.end(begun, 'web2', 7);
  expect(over.state).toBe('failed');
  expect(await told()).toEqual([['batch.failed', 2]]);
  const [one] = receiver.received;
  expect(one).toMatchObject({
    id: `msg_${over.id}_${over.version}_callback`,
    verifiedBy: [0],
    body: {
      data: {
        id: over.id,
        state: 'failed',
        version: over.version,
        total: 2,
        counts: { succeeded: 1, failed: 1, unstarted: 0 },
        links: { self: `/v1/batches/${over.id}` },
      },
    },
  });
  expect(one?.text).not.toContain('sealed');
});

test('a callback hears that a limit has paused its batch, and which one', async () => {
  const limits = { max_failures: 0, on_limit: 'pause', max_parallel: 1 } as const;
  const begun = await batch.begin(['web1', 'web2'], { callback_url: receiver.url, ...limits });
  await batch.end(begun, 'web1', 1);
  expect(await told()).toEqual([['batch.paused', 1]]);
  expect(receiver.received[0]?.body.data).toMatchObject({ state: 'paused', stopped_because: 'max_failures' });
});

test('a callback hears that its batch waits to be resumed after a wave', async () => {
  const waves = { waves: [1], wave_pause_seconds: null };
  const begun = await batch.begin(['web1', 'web2'], { callback_url: receiver.url, ...waves });
  await batch.end(begun, 'web1', 0);
  expect(await told()).toEqual([['batch.paused', 1]]);
  expect(receiver.received[0]?.body.data).toMatchObject({ state: 'paused', awaits_wave: true });
});

test('an endpoint that names the events hears of each wave that is done, as that wave, and of every state', async () => {
  const events = ['batch.wave_done', 'batch.running', 'batch.succeeded', 'batch.paused'] as const;
  await rig.endpoints.create({ url: receiver.url, events: [...events] }, OWNER);
  const begun = await batch.begin(['web1', 'web2', 'web3'], { waves: [1] });
  for (const host of ['web1', 'web2', 'web3']) await batch.end(begun, host, 0);
  expect(await told()).toEqual([
    ['batch.running', 1],
    ['batch.wave_done', 1],
    ['batch.wave_done', 2],
    ['batch.succeeded', 3],
  ]);
});

test("an endpoint that does not choose hears of a batch's end and of the ends of its jobs", async () => {
  await rig.endpoints.create({ url: receiver.url }, OWNER);
  const begun = await batch.begin(['web1']);
  await batch.end(begun, 'web1', 0);
  expect(await told()).toEqual([['batch.succeeded', 1]]);
  expect(receiver.received.map(({ body }) => body.type).sort()).toEqual(['batch.succeeded', 'job.succeeded']);
});

test('an endpoint hears of no batch of another key, nor of one without its labels', async () => {
  await rig.endpoints.create({ url: receiver.url }, { name: 'another', admin: false });
  await rig.endpoints.create({ url: receiver.url, labels: { tier: 'db' } }, OWNER);
  const all = await startReceiver();
  await rig.endpoints.create({ url: all.url }, { name: 'another', admin: true });
  const begun = await batch.begin(['web1']);
  await batch.end(begun, 'web1', 0);
  expect(await told(all)).toEqual([['batch.succeeded', 1]]);
  expect(receiver.received).toEqual([]);
  await all.stop();
});

test('the record of a batch outlives its deliveries', async () => {
  // Its deliveries must not be dead by the time that it is asked.
  receiver.mode = { kind: 'hang' };
  const begun = await batch.begin(['web1'], { callback_url: receiver.url });
  const over = await batch.end(begun, 'web1', 0);
  await rig.deliverer.expand();
  expect(await batch.batches.remove(over)).toBe(false);
  receiver.mode = { kind: 'status', status: 200 };
  await deliveryOf(rig, `msg_${over.id}_${over.version}_callback`, { state: 'delivered' });
  expect(await batch.batches.remove(over)).toBe(true);
  expect(await batch.batches.get(over.id)).toBeNull();
});
