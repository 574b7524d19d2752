import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { fileURLToPath } from 'node:url';
import { afterAll, afterEach, beforeAll, beforeEach, expect, test } from 'vitest';
import {
  CALLBACK_SECRET,
  callbackId,
  createRig,
  deliveryOf,
  endJob,
  type Rig,
} from '../helpers/deliverer.ts';
import { OK, type Receiver, startReceiver } from '../helpers/receiver.ts';
import { startRedis, type TestRedis } from '../helpers/redis.ts';
import { openStores, type Stores } from '../helpers/stores.ts';
import { until } from '../helpers/until.ts';

let redis: TestRedis;
let stores: Stores;
let receiver: Receiver;
const rigs: Rig[] = [];
const children: ChildProcess[] = [];

beforeAll(async () => {
  redis = await startRedis();
});
afterAll(() => redis.stop());

beforeEach(async () => {
  stores = await openStores(redis.url);
  await stores.redis.flushall();
  receiver = await startReceiver({ secrets: [CALLBACK_SECRET] });
});
afterEach(async () => {
  await Promise.all(children.splice(0).map(killed));
  await receiver.stop();
  await Promise.all(rigs.splice(0).map((rig) => rig.stop()));
  await stores.close();
});

test('a process that is killed while it sends loses nothing: the delivery is sent again', async () => {
  receiver.mode = { kind: 'hang' };
  const child = await startProcess(60_000);
  const job = await endJob(stores, { callback_url: receiver.url });
  await stores.wake.deliver();
  await until(() => receiver.inFlight === 1);
  const lease = await stores.redis.zrange(`${stores.keys.deliveriesDue}:${originOf(receiver)}`, 0, '-1');
  expect(lease).toEqual([callbackId(job)]);
  await killed(child);

  // The lease would last for a minute more: what a survivor waits for is brought forward, not skipped.
  receiver.mode = OK;
  const rig = startRig();
  for (const place of ['', ':sending']) {
    await stores.redis.zadd(`${stores.keys.deliveriesDue}:${originOf(receiver)}${place}`, 1, callbackId(job));
  }
  await stores.redis.zadd(stores.keys.deliveriesDue, 1, originOf(receiver));
  await rig.deliverer.sweepDeliveries();
  await deliveryOf(rig, callbackId(job), { state: 'delivered' });
  expect(receiver.received.map(({ id }) => id)).toEqual([callbackId(job), callbackId(job)]);
});

test('whenever processes are killed, every end is told, each under one id', async () => {
  const slow = await startReceiver({ secrets: [CALLBACK_SECRET], delayMs: 10 });
  const jobs = [];
  let child = await startProcess(500);
  for (let round = 0; round < 3; round++) {
    for (let i = 0; i < 40; i++) jobs.push(await endJob(stores, { callback_url: slow.url }));
    await stores.wake.deliver();
    const seen = slow.received.length;
    await until(() => slow.received.length > seen + 5);
    await killed(child);
    child = await startProcess(500);
  }
  const told = () => new Set(slow.received.map(({ id }) => id));
  await until(() => told().size === jobs.length, { timeoutMs: 20_000, what: 'all callbacks' });
  expect([...told()].sort()).toEqual(jobs.map(callbackId).sort());
  expect(slow.received.every(({ verifiedBy }) => verifiedBy.length === 1)).toBe(true);
  const rig = createRig(stores);
  rigs.push(rig);
  for (const job of jobs) await deliveryOf(rig, callbackId(job), { state: 'delivered' });
  await slow.stop();
});

test('when Redis is killed and comes back, what was pending is delivered', async () => {
  receiver.mode = { kind: 'status', status: 500 };
  const rig = startRig({ pausesSeconds: [0.5, 0.5, 0.5, 0.5, 0.5, 0.5] });
  const job = await endJob(stores, { callback_url: receiver.url });
  await stores.wake.deliver();
  await deliveryOf(rig, callbackId(job), { attempts: 1 });
  await redis.restart();
  receiver.mode = OK;
  await until(async () => {
    await rig.deliverer.sweepDeliveries();
    return (await rig.deliveries.get(callbackId(job)))?.state === 'delivered';
  });
});

test('a change whose wake-up got lost is found by the sweep', async () => {
  const rig = startRig();
  const job = await endJob(stores, { callback_url: receiver.url });
  await rig.deliverer.sweepDeliveries();
  await deliveryOf(rig, callbackId(job), { state: 'delivered' });
});

test('processes that expand the same outbox at once make one delivery of each change', async () => {
  const rigs = [startRig(), startRig(), startRig()];
  const jobs = [];
  for (let i = 0; i < 150; i++) jobs.push(await endJob(stores, { callback_url: receiver.url }));
  await Promise.all(rigs.map((rig) => rig.deliverer.expand()));
  for (const job of jobs) await deliveryOf(rigs[0] as Rig, callbackId(job), { state: 'delivered' });
  expect(receiver.received.map(({ id }) => id).sort()).toEqual(jobs.map(callbackId).sort());
});

test('an entry that cannot be read holds up no other, and stays', async () => {
  const rig = startRig();
  await stores.redis.rpush(stores.keys.outbox, 'no JSON', '{"id":5}');
  const job = await endJob(stores, { callback_url: receiver.url });
  await stores.wake.deliver();
  await deliveryOf(rig, callbackId(job), { state: 'delivered' });
  expect(await stores.redis.lrange(stores.keys.outbox, 0, -1)).toEqual(['no JSON']);
});

test('one receiver never has more than its share of requests, and a slow one holds up no other', async () => {
  const slow = await startReceiver({ delayMs: 400 });
  startRig({ perOrigin: 3 });
  const rig = startRig({ perOrigin: 3 });
  for (let i = 0; i < 30; i++) await endJob(stores, { callback_url: slow.url });
  await stores.wake.deliver();
  await until(() => slow.inFlight === 3);
  const quick = await endJob(stores, { callback_url: receiver.url });
  await stores.wake.deliver();
  await deliveryOf(rig, callbackId(quick), { state: 'delivered' });
  expect(slow.received.length).toBeLessThan(30);
  await until(() => slow.received.length === 30);
  expect(slow.maxInFlight).toBe(3);
  await slow.stop();
});

function startRig(options: Parameters<typeof createRig>[1] = {}): Rig {
  const rig = createRig(stores, options);
  rig.deliverer.start();
  rigs.push(rig);
  return rig;
}

async function startProcess(timeoutMs: number): Promise<ChildProcess> {
  const file = fileURLToPath(new URL('../helpers/deliverer.process.ts', import.meta.url));
  const child = spawn(process.execPath, [file, redis.url, String(timeoutMs)], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  children.push(child);
  await once(child.stdout, 'data');
  return child;
}

async function killed(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return;
  child.kill('SIGKILL');
  await once(child, 'exit');
}

function originOf({ url }: Receiver): string {
  return new URL(url).origin;
}
