import { afterAll, afterEach, beforeAll, beforeEach, expect, test } from 'vitest';
import {
  CALLBACK_SECRET,
  callbackId,
  createRig,
  deliveryOf,
  endJob,
  type Rig,
} from '../helpers/deliverer.ts';
import { OK, type Receiver, type ReceiverMode, startReceiver } from '../helpers/receiver.ts';
import { startRedis, type TestRedis } from '../helpers/redis.ts';
import { openStores, type Stores } from '../helpers/stores.ts';
import { until } from '../helpers/until.ts';

const ADMIN = { name: 'root', admin: true };

let redis: TestRedis;
let stores: Stores;
let rig: Rig;
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
  receiver = await startReceiver({ secrets: [CALLBACK_SECRET] });
});
afterEach(async () => {
  await receiver.stop();
  await rig.stop();
  await stores.close();
});

test('a callback is told of the end of its job, signed, with the job as of that version', async () => {
  const job = await endJob(stores, {
    callback_url: receiver.url,
    sealed_env: 'v1.sealed',
    labels: { dag: 'a' },
  });
  await stores.wake.deliver();
  const delivery = await deliveryOf(rig, callbackId(job), { state: 'delivered' });
  expect(receiver.received).toHaveLength(1);
  const [webhook] = receiver.received;
  expect(webhook).toMatchObject({ id: callbackId(job), path: '/hook', verifiedBy: [0] });
  expect(webhook?.body).toMatchObject({
    type: 'job.canceled',
    data: { id: job.id, version: job.version, state: 'canceled', labels: { dag: 'a' } },
  });
  expect(webhook?.text).not.toContain('sealed');
  expect(delivery.attempts).toMatchObject([{ status: 200, error: null }]);
  expect(await rig.deliveries.counts()).toEqual({ outbox: 0, dead: 0 });
});

test('a failed delivery is tried again with the same id and body, and a later attempt has a later timestamp', async () => {
  receiver.mode = { kind: 'status', status: 500, body: 'x'.repeat(5_000) };
  const job = await endJob(stores, { callback_url: receiver.url });
  await stores.wake.deliver();
  const failed = await deliveryOf(rig, callbackId(job), { attempts: 1 });
  expect(failed).toMatchObject({
    state: 'pending',
    tries: 1,
    attempts: [{ status: 500, error: 'http_status' }],
  });
  expect(failed.attempts[0]?.response).toHaveLength(1_024);
  receiver.mode = OK;
  const delivered = await deliveryOf(rig, callbackId(job), { state: 'delivered' });
  expect(delivered.attempts.at(-1)).toMatchObject({ status: 200 });
  expect(new Set(receiver.received.map(({ id }) => id))).toEqual(new Set([callbackId(job)]));
  expect(new Set(receiver.received.map(({ text }) => text)).size).toBe(1);
  const [first, last] = [receiver.received[0], receiver.received.at(-1)];
  expect(last?.timestamp).toBeGreaterThanOrEqual(first?.timestamp ?? Number.POSITIVE_INFINITY);
  expect(receiver.received.every(({ verifiedBy }) => verifiedBy.length === 1)).toBe(true);
});

test('a delivery whose attempts all fail is listed as dead, and sent again under its old id when asked', async () => {
  receiver.mode = { kind: 'status', status: 503 };
  const job = await endJob(stores, { callback_url: receiver.url, created_by: 'airflow' });
  const id = callbackId(job);
  await stores.wake.deliver();
  const dead = await deliveryOf(rig, id, { state: 'dead' });
  expect(dead).toMatchObject({ reason: 'all 4 attempts failed', tries: 4 });
  expect(dead.attempts).toHaveLength(4);
  const deadOf = (owner: string) =>
    rig.deliveries.list({ target: 'callbacks', owner, state: 'dead' }, { size: 10 });
  expect((await deadOf('airflow'))?.deliveries.map((one) => one.id)).toEqual([id]);
  expect((await deadOf('somebody'))?.deliveries).toEqual([]);
  expect(await stores.redis.exists(stores.keys.deliveriesPending(job.id))).toBe(0);

  receiver.mode = OK;
  receiver.received.length = 0;
  expect(await rig.deliveries.redeliver(dead)).toMatchObject({ state: 'pending', tries: 0, reason: null });
  await stores.wake.deliver();
  const delivered = await deliveryOf(rig, id, { state: 'delivered' });
  expect(receiver.received.map((one) => one.id)).toEqual([id]);
  expect(delivered.attempts).toHaveLength(5);
  expect((await deadOf('airflow'))?.deliveries).toEqual([]);
  expect(await rig.deliveries.counts()).toEqual({ outbox: 0, dead: 0 });
});

test('410 disables the endpoint: nothing more is sent to it, and it hears of nothing new', async () => {
  receiver.mode = { kind: 'status', status: 410 };
  const { endpoint } = await rig.endpoints.create({ url: receiver.url }, ADMIN);
  const job = await endJob(stores);
  await stores.wake.deliver();
  const id = `msg_${job.id}_${job.version}_${endpoint.id}`;
  expect(await deliveryOf(rig, id, { state: 'dead' })).toMatchObject({ attempts: [{ status: 410 }] });
  expect(await rig.endpoints.get(endpoint.id)).toMatchObject({
    disabled_reason: 'the receiver answered 410 Gone',
  });

  const later = await endJob(stores);
  await rig.deliverer.expand();
  expect(await rig.deliveries.get(`msg_${later.id}_${later.version}_${endpoint.id}`)).toBeNull();
  expect(receiver.received).toHaveLength(1);
});

test('410 ends a callback without another attempt', async () => {
  receiver.mode = { kind: 'status', status: 410 };
  const job = await endJob(stores, { callback_url: receiver.url });
  await stores.wake.deliver();
  const dead = await deliveryOf(rig, callbackId(job), { state: 'dead' });
  expect(dead).toMatchObject({ reason: 'the receiver answered 410 Gone', tries: 1 });
});

test('for a day after a rotation both secrets sign', async () => {
  const { endpoint, secret } = await rig.endpoints.create({ url: receiver.url }, ADMIN);
  const rotated = await rig.endpoints.rotateSecret(endpoint.id);
  receiver.secrets = [secret, rotated?.secret ?? ''];
  await endJob(stores);
  await stores.wake.deliver();
  await until(() => receiver.received.length === 1);
  expect(receiver.received[0]?.verifiedBy).toEqual([0, 1]);
});

test('a redirect is a failure and is not followed', async () => {
  const elsewhere = await startReceiver();
  receiver.mode = { kind: 'status', status: 302, headers: { location: elsewhere.url } };
  const job = await endJob(stores, { callback_url: receiver.url });
  await stores.wake.deliver();
  const failed = await deliveryOf(rig, callbackId(job), { attempts: 1 });
  expect(failed.attempts[0]).toMatchObject({ status: 302, error: 'http_status' });
  expect(elsewhere.received).toEqual([]);
  await elsewhere.stop();
});

test('Retry-After puts the next attempt off', async () => {
  receiver.mode = { kind: 'status', status: 429, headers: { 'retry-after': '1' } };
  const job = await endJob(stores, { callback_url: receiver.url });
  await stores.wake.deliver();
  await deliveryOf(rig, callbackId(job), { attempts: 1 });
  receiver.mode = OK;
  const { attempts } = await deliveryOf(rig, callbackId(job), { state: 'delivered' });
  const [first, second] = attempts;
  expect((second?.at ?? 0) - (first?.at ?? 0)).toBeGreaterThanOrEqual(1_000);
});

test.each<[ReceiverMode, string]>([
  [{ kind: 'hang' }, 'timeout'],
  [{ kind: 'reset' }, 'connection_failed'],
])('a receiver that takes the request and answers with %j is tried again', async (mode, error) => {
  await rig.stop();
  rig = createRig(stores, { timeoutMs: 300 });
  rig.deliverer.start();
  receiver.mode = mode;
  const job = await endJob(stores, { callback_url: receiver.url });
  await stores.wake.deliver();
  const failed = await deliveryOf(rig, callbackId(job), { attempts: 1 });
  expect(failed.attempts[0]).toMatchObject({ status: null, error });
  receiver.mode = OK;
  await deliveryOf(rig, callbackId(job), { state: 'delivered' });
});

test('a body that never ends does not undo a 200', async () => {
  await rig.stop();
  rig = createRig(stores, { timeoutMs: 300 });
  rig.deliverer.start();
  receiver.mode = { kind: 'slow_body' };
  const job = await endJob(stores, { callback_url: receiver.url });
  await stores.wake.deliver();
  expect(await deliveryOf(rig, callbackId(job), { state: 'delivered' })).toMatchObject({ tries: 1 });
});

test('an endpoint hears only of its events, of its labels, and of jobs its owner may see', async () => {
  const create = (path: string, owner: typeof ADMIN, more = {}) =>
    rig.endpoints.create({ url: `${receiver.url}/${path}`, ...more }, owner);
  await create('all', ADMIN);
  await create('mine', { name: 'airflow', admin: false });
  await create('labelled', ADMIN, { labels: { team: 'data' } });
  await create('failures', ADMIN, { events: ['job.failed'] });
  await endJob(stores, { created_by: 'airflow' });
  await endJob(stores, { created_by: 'other', labels: { team: 'data', x: 'y' } });
  await stores.wake.deliver();
  await until(async () => receiver.received.length === 4 && (await rig.deliveries.counts()).outbox === 0);
  expect(receiver.received.map(({ path }) => path).sort()).toEqual([
    '/hook/all',
    '/hook/all',
    '/hook/labelled',
    '/hook/mine',
  ]);
});

test('an endpoint may hear of the states on the way, a callback does not', async () => {
  await rig.endpoints.create(
    { url: `${receiver.url}/endpoint`, events: ['job.dispatching', 'job.running'] },
    ADMIN,
  );
  const job = await endJob(stores);
  const second = await stores.jobs.accept({
    ...job,
    id: `${job.id}x`,
    callback_url: `${receiver.url}/callback`,
  });
  if (second.kind !== 'accepted') throw new Error(second.kind);
  await stores.jobs.transition(second.job, 'queued', 'dispatching', { why: 'a test' });
  await stores.wake.deliver();
  await until(async () => receiver.received.length === 1 && (await rig.deliveries.counts()).outbox === 0);
  expect(receiver.received[0]).toMatchObject({ path: '/hook/endpoint', body: { type: 'job.dispatching' } });
});

test('the deliveries of a removed endpoint are given up', async () => {
  receiver.mode = { kind: 'status', status: 500 };
  const { endpoint } = await rig.endpoints.create({ url: receiver.url }, ADMIN);
  const job = await endJob(stores);
  const id = `msg_${job.id}_${job.version}_${endpoint.id}`;
  await stores.wake.deliver();
  await deliveryOf(rig, id, { attempts: 1 });
  expect(await rig.endpoints.remove(endpoint.id)).toBe(true);
  expect(await deliveryOf(rig, id, { state: 'dead' })).toMatchObject({ reason: 'the endpoint was deleted' });
});

test('without a callback secret nothing is sent unsigned; the delivery waits for one', async () => {
  const job = await endJob(stores, { callback_url: receiver.url, created_by: 'no-secret' });
  await stores.wake.deliver();
  const waiting = await deliveryOf(rig, callbackId(job), { attempts: 1 });
  expect(waiting.attempts[0]).toMatchObject({ status: null, error: 'callback_secret_missing' });
  expect(receiver.received).toEqual([]);
});

test('a job is kept until its deliveries are over', async () => {
  receiver.mode = { kind: 'status', status: 500 };
  const job = await endJob(stores, { callback_url: receiver.url });
  await stores.wake.deliver();
  await deliveryOf(rig, callbackId(job), { attempts: 1 });
  expect(await stores.jobs.remove(job)).toBe(false);
  receiver.mode = OK;
  await deliveryOf(rig, callbackId(job), { state: 'delivered' });
  expect(await stores.jobs.remove(job)).toBe(true);
});

test('an HTTPS receiver must show a certificate that is trusted', async () => {
  const secure = await startReceiver({ https: true, secrets: [CALLBACK_SECRET] });
  const job = await endJob(stores, { callback_url: secure.url });
  await stores.wake.deliver();
  const failed = await deliveryOf(rig, callbackId(job), { attempts: 1 });
  expect(failed.attempts[0]).toMatchObject({ status: null, error: 'tls' });
  await rig.stop();
  rig = createRig(stores, { ca: secure.ca });
  rig.deliverer.start();
  await rig.deliveries.redeliver(failed);
  await stores.wake.deliver();
  await deliveryOf(rig, callbackId(job), { state: 'delivered' });
  expect(secure.received[0]?.verifiedBy).toEqual([0]);
  await secure.stop();
});
