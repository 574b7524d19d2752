import { afterAll, beforeAll, beforeEach, expect, test } from 'vitest';
import { createDeliveryStore, type DeliveryStore, type NewDelivery } from '../../src/store/deliveries.ts';
import { endJob } from '../helpers/deliverer.ts';
import { startRedis, type TestRedis } from '../helpers/redis.ts';
import { openStores, type Stores } from '../helpers/stores.ts';
import { until } from '../helpers/until.ts';

const ORIGIN = 'https://receiver.test';
const ATTEMPT = { at: 1, duration_ms: 2, status: 200, error: null, detail: null, response: 'ok' };

let redis: TestRedis;
let stores: Stores;
let deliveries: DeliveryStore;

beforeAll(async () => {
  redis = await startRedis();
  stores = await openStores(redis.url);
  deliveries = createDeliveryStore(stores);
});
beforeEach(() => stores.redis.flushall());
afterAll(async () => {
  await stores.close();
  await redis.stop();
});

test('an entry of the outbox makes its deliveries once', async () => {
  const { outgoing, made } = await expanded();
  expect(await deliveries.expand(outgoing, [made])).toBe(false);
  expect(await deliveries.outbox(10)).toEqual([]);
  expect(await deliveries.get(made.id)).toMatchObject({
    ...made,
    state: 'pending',
    tries: 0,
    origin: ORIGIN,
  });
});

test('a delivery that is there already is left as it is, even when its entry comes again', async () => {
  const { outgoing, made } = await expanded();
  const { claimed } = await deliveries.claim(ORIGIN, { perOrigin: 1, leaseMs: 1_000 });
  await deliveries.settle(claimed[0]!, ATTEMPT, { kind: 'delivered' });
  await stores.redis.rpush(stores.keys.outbox, outgoing.text);
  expect(await deliveries.expand(outgoing, [made])).toBe(true);
  expect(await deliveries.get(made.id)).toMatchObject({ state: 'delivered', attempts: [ATTEMPT] });
  expect((await deliveries.claim(ORIGIN, { perOrigin: 1, leaseMs: 1_000 })).claimed).toEqual([]);
});

test('an entry whose job is gone is told to nobody and goes', async () => {
  const job = await endJob(stores, { callback_url: `${ORIGIN}/hook` });
  await stores.redis.del(stores.keys.jobRequest(job.id));
  const [outgoing] = await deliveries.outbox(10);
  expect(outgoing?.entry).toBeNull();
  expect(await deliveries.expand(outgoing!, [])).toBe(true);
  expect(await deliveries.counts()).toEqual({ outbox: 0, dead: 0 });
});

test('a lease that ran out is taken by the next, and its holder can settle nothing any more', async () => {
  const { made } = await expanded();
  const first = await deliveries.claim(ORIGIN, { perOrigin: 1, leaseMs: 30 });
  expect((await deliveries.claim(ORIGIN, { perOrigin: 1, leaseMs: 30 })).claimed).toEqual([]);
  const second = await until(async () => {
    const { claimed } = await deliveries.claim(ORIGIN, { perOrigin: 1, leaseMs: 5_000 });
    return claimed[0];
  });
  expect(await deliveries.settle(first.claimed[0]!, ATTEMPT, { kind: 'dead', reason: 'late' })).toBe(false);
  expect(await deliveries.get(made.id)).toMatchObject({ state: 'pending', attempts: [] });
  expect(await deliveries.settle(second, ATTEMPT, { kind: 'delivered' })).toBe(true);
  expect(await deliveries.settle(second, ATTEMPT, { kind: 'delivered' })).toBe(false);
});

test('no more than its share of an origin is handed out, and each end makes room for one', async () => {
  for (let i = 0; i < 3; i++) await expanded();
  const { claimed } = await deliveries.claim(ORIGIN, { perOrigin: 2, leaseMs: 5_000 });
  expect(claimed).toHaveLength(2);
  const full = await deliveries.claim(ORIGIN, { perOrigin: 2, leaseMs: 5_000 });
  expect(full.claimed).toEqual([]);
  expect(full.next?.at).toBe(claimed[0]?.lease);
  await deliveries.settle(claimed[0]!, ATTEMPT, { kind: 'retry', delayMs: 60_000 });
  const third = await deliveries.claim(ORIGIN, { perOrigin: 2, leaseMs: 5_000 });
  expect(third.claimed).toHaveLength(1);
});

test('an origin is due until nothing waits there', async () => {
  await expanded();
  expect(await deliveries.takeDue(10)).toEqual([ORIGIN]);
  expect(await deliveries.takeDue(10)).toEqual([]);
  const { claimed } = await deliveries.claim(ORIGIN, { perOrigin: 1, leaseMs: 5_000 });
  await deliveries.settle(claimed[0]!, ATTEMPT, { kind: 'retry', delayMs: 20 });
  expect(await until(async () => (await deliveries.takeDue(10))[0])).toBe(ORIGIN);
  const again = await deliveries.claim(ORIGIN, { perOrigin: 1, leaseMs: 5_000 });
  await deliveries.settle(again.claimed[0]!, ATTEMPT, { kind: 'delivered' });
  expect(await stores.redis.exists(stores.keys.deliveriesDue)).toBe(0);
});

test('something new for an origin that waits for later is due at once', async () => {
  await expanded();
  const { claimed } = await deliveries.claim(ORIGIN, { perOrigin: 1, leaseMs: 5_000 });
  await deliveries.settle(claimed[0]!, ATTEMPT, { kind: 'retry', delayMs: 60_000 });
  expect(await deliveries.takeDue(10)).toEqual([]);
  await expanded();
  expect(await deliveries.takeDue(10)).toEqual([ORIGIN]);
});

test('a list is read in pages, newest first, and shows callbacks to their owner only', async () => {
  const ids: string[] = [];
  for (let i = 0; i < 5; i++) ids.unshift((await expanded()).made.id);
  await expanded({ created_by: 'somebody' });
  const of = { target: 'callbacks', owner: 'test' };
  const first = await deliveries.list(of, { size: 2 });
  const second = await deliveries.list(of, { size: 2, after: first?.after ?? '' });
  const third = await deliveries.list(of, { size: 2, after: second?.after ?? '' });
  const pages = [first, second, third].map((page) => page?.deliveries.map(({ id }) => id));
  expect(pages.flat().sort()).toEqual([...ids].sort());
  expect(pages.map((page) => page?.length)).toEqual([2, 2, 1]);
  expect(third?.after).toBeNull();
  expect(await deliveries.list(of, { size: 2, after: 'msg_unknown' })).toBeNull();
});

test('a delivery that is being sent is not sent beside itself when it is asked for again', async () => {
  const { made } = await expanded();
  await deliveries.claim(ORIGIN, { perOrigin: 5, leaseMs: 5_000 });
  const delivery = await deliveries.get(made.id);
  expect(await deliveries.redeliver(delivery!)).toMatchObject({ state: 'pending' });
  expect((await deliveries.claim(ORIGIN, { perOrigin: 5, leaseMs: 5_000 })).claimed).toEqual([]);
});

test('what is over is forgotten in the end, and what is pending never', async () => {
  const { made } = await expanded();
  expect(await stores.redis.pttl(stores.keys.delivery(made.id))).toBe(-1);
  const { claimed } = await deliveries.claim(ORIGIN, { perOrigin: 5, leaseMs: 5_000 });
  await deliveries.settle(claimed[0]!, ATTEMPT, { kind: 'dead', reason: 'a test' });
  expect(await stores.redis.pttl(stores.keys.delivery(made.id))).toBeGreaterThan(6 * 86_400_000);
  await deliveries.redeliver((await deliveries.get(made.id))!);
  expect(await stores.redis.pttl(stores.keys.delivery(made.id))).toBe(-1);
  expect(await stores.redis.smembers(stores.keys.deliveriesPending(made.subject))).toEqual([made.id]);
});

/** One change in the outbox, made into one delivery to ORIGIN. */
async function expanded(fields: { created_by?: string } = {}) {
  const job = await endJob(stores, { callback_url: `${ORIGIN}/hook`, ...fields });
  const [outgoing] = await deliveries.outbox(10);
  const made: NewDelivery = {
    id: `msg_${job.id}_${job.version}_callback`,
    subject: job.id,
    version: job.version,
    type: 'job.canceled',
    target: 'callbacks',
    owner: job.created_by,
    url: `${ORIGIN}/hook`,
    body: '{"type":"job.canceled"}',
  };
  expect(await deliveries.expand(outgoing!, [made])).toBe(true);
  return { outgoing: outgoing!, made };
}
