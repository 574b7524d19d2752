/** Receivers that are slow, dead or many: whose deliveries wait for whom. */
import { afterAll, afterEach, beforeAll, beforeEach, expect, test } from 'vitest';
import { callbackId, createRig, deliveryOf, endJob, type Rig } from '../helpers/deliverer.ts';
import { type Receiver, startReceiver } from '../helpers/receiver.ts';
import { startRedis, type TestRedis } from '../helpers/redis.ts';
import { openStores, type Stores } from '../helpers/stores.ts';
import { until } from '../helpers/until.ts';

/** What a delivery may take on this machine when nobody is in its way, with room for a busy one. */
const OWN_TIME_MS = 4_000;

let redis: TestRedis;
let stores: Stores;
const rigs: Rig[] = [];
const receivers: Receiver[] = [];

beforeAll(async () => {
  redis = await startRedis();
});
afterAll(() => redis.stop());
beforeEach(async () => {
  stores = await openStores(redis.url);
  await stores.redis.flushall();
});
afterEach(async () => {
  await Promise.all(receivers.splice(0).map((receiver) => receiver.stop()));
  await Promise.all(rigs.splice(0).map((rig) => rig.stop()));
  await stores.close();
});

function startRig(options: Parameters<typeof createRig>[1] = {}): Rig {
  const rig = createRig(stores, options);
  rig.deliverer.start();
  rigs.push(rig);
  return rig;
}

async function receiver(options: Parameters<typeof startReceiver>[0] = {}): Promise<Receiver> {
  const started = await startReceiver(options);
  receivers.push(started);
  return started;
}

const endJobs = (count: number, url: string) =>
  Promise.all(Array.from({ length: count }, () => endJob(stores, { callback_url: url })));

test('one that never answers and one that takes 20 s, a thousand deliveries each, delay no third', async () => {
  const dead = await receiver({ mode: { kind: 'hang' } });
  const slow = await receiver({ delayMs: 20_000 });
  const quick = await receiver();
  const rig = startRig({ timeoutMs: 25_000, perOrigin: 8 });
  await Promise.all([endJobs(1_000, dead.url), endJobs(1_000, slow.url)]);
  await stores.wake.deliver();
  await until(() => dead.inFlight === 8 && slow.inFlight === 8);
  const delays: number[] = [];
  for (let round = 0; round < 10; round++) {
    const committedAt = Date.now();
    const jobs = await endJobs(5, quick.url);
    await stores.wake.deliver();
    await until(() => quick.received.length === 5 * (round + 1), { what: 'the third to be told' });
    delays.push(Date.now() - committedAt);
    for (const job of jobs) await deliveryOf(rig, callbackId(job), { state: 'delivered' });
  }
  expect(Math.max(...delays)).toBeLessThan(OWN_TIME_MS);
  expect([dead.maxInFlight, slow.maxInFlight]).toEqual([8, 8]);
  expect(slow.received.length).toBeLessThan(1_000);
});

test('a change behind two thousand others in the outbox does not wait for their receivers', async () => {
  const dead = await receiver({ mode: { kind: 'hang' } });
  const quick = await receiver();
  await endJobs(1_000, dead.url);
  await endJobs(1, quick.url);
  await endJobs(1_000, dead.url);
  startRig({ timeoutMs: 25_000 });
  const wokenAt = Date.now();
  await stores.wake.deliver();
  await until(() => quick.received.length === 1);
  expect(Date.now() - wokenAt).toBeLessThan(OWN_TIME_MS);
});

test('more hanging receivers than a process serves at once keep no other from its deliveries', async () => {
  const hanging = await Promise.all([1, 2, 3, 4].map(() => receiver({ mode: { kind: 'hang' } })));
  const quick = await receiver();
  const rig = startRig({ timeoutMs: 25_000, concurrency: 2 });
  for (const { url } of hanging) await endJobs(50, url);
  await stores.wake.deliver();
  await until(() => hanging.filter(({ inFlight }) => inFlight > 0).length >= 2);
  await endJobs(1, quick.url);
  await until(
    async () => {
      await rig.deliverer.sweepDeliveries();
      return quick.received.length === 1 && hanging.every(({ inFlight }) => inFlight === 4);
    },
    { timeoutMs: 15_000, what: 'all of them to be served' },
  );
});

test('changes that cannot be read, more than are read at once, hold up none behind them', async () => {
  const quick = await receiver();
  await stores.redis.rpush(stores.keys.outbox, ...Array.from({ length: 250 }, (_, i) => `no JSON ${i}`));
  const [job] = await endJobs(1, quick.url);
  const rig = startRig();
  await stores.wake.deliver();
  await deliveryOf(rig, callbackId(job!), { state: 'delivered' });
  expect((await rig.deliveries.counts()).outbox).toBe(250);
});
