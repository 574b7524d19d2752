/** What is told of a job, and when: every end and every correction, after it is committed, and before its record goes. */
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { text } from 'node:stream/consumers';
import { afterAll, afterEach, beforeAll, beforeEach, expect, test } from 'vitest';
import type { Change } from '../../src/job/move.ts';
import { outcome } from '../../src/job/outcome.ts';
import type { Job } from '../../src/job/record.ts';
import { OVER, type State } from '../../src/job/states.ts';
import { callbackId, createRig, deliveryOf, endJob, type Rig } from '../helpers/deliverer.ts';
import { startReceiver } from '../helpers/receiver.ts';
import { startRedis, type TestRedis } from '../helpers/redis.ts';
import { newJob, openStores, type Stores } from '../helpers/stores.ts';
import { until } from '../helpers/until.ts';
import { startTestWorkers } from '../helpers/workers.ts';

let redis: TestRedis;
let stores: Stores;
let rig: Rig;

beforeAll(async () => {
  redis = await startRedis();
});
afterAll(() => redis.stop());
beforeEach(async () => {
  stores = await openStores(redis.url);
  await stores.redis.flushall();
  rig = createRig(stores);
});
afterEach(async () => {
  await rig.stop();
  await stores.close();
});

/** Through these states, as the workers would move it. */
async function moved(url: string, ...steps: [State, Partial<Change>][]): Promise<Job> {
  const accepted = await stores.jobs.accept(newJob({ host: 'web1', command: 'true', callback_url: url }));
  if (accepted.kind !== 'accepted') throw new Error(accepted.kind);
  let { job } = accepted;
  for (const [state, change] of steps) {
    const next = await stores.jobs.transition(job, job.state, state as never, { why: 'a test', ...change });
    if (!next) throw new Error(`it could not be moved to ${state}`);
    job = next;
  }
  return job;
}

const STARTED: [State, Partial<Change>][] = [
  ['dispatching', { attempt: 1 }],
  ['running', { next_poll_at: Date.now() }],
];
const LOST: [State, Partial<Change>][] = [
  ...STARTED,
  ['unreachable', { next_poll_at: Date.now() }],
  ['lost', { outcome: outcome('silent'), next_poll_at: Date.now() }],
];

/** Every way to an end, and each correction of one. */
const TOLD: [string, [State, Partial<Change>][]][] = [
  ['job.succeeded', [...STARTED, ['succeeded', { outcome: outcome('exit', { return_code: 0 }) }]]],
  ['job.failed', [...STARTED, ['failed', { outcome: outcome('exit', { return_code: 1 }) }]]],
  ['job.timed_out', [...STARTED, ['timed_out', { outcome: outcome('timeout') }]]],
  ['job.canceled', [['canceled', { outcome: outcome('canceled') }]]],
  ['job.expired', [['expired', { outcome: outcome('expired') }]]],
  ['job.lost', LOST],
  ['job.sighted', [...LOST, ['lost', { type: 'job.sighted', sighted_at: 1, next_poll_at: Date.now() }]]],
  [
    'job.recovered',
    [...LOST, ['failed', { type: 'job.recovered', outcome: outcome('exit', { return_code: 2 }) }]],
  ],
];

test('every end has a row below', () => {
  expect(TOLD.map(([type]) => type)).toEqual(expect.arrayContaining(OVER.map((state) => `job.${state}`)));
});

test.each(TOLD)(
  '%s is told to the callback, the last of its events under an id of its own',
  async (type, steps) => {
    const receiver = await startReceiver();
    try {
      rig.deliverer.start();
      const job = await moved(receiver.url, ...steps);
      await stores.wake.deliver();
      await deliveryOf(rig, callbackId(job), { state: 'delivered' });
      const told = receiver.received.find(({ id }) => id === callbackId(job));
      expect(told?.body).toMatchObject({
        type,
        data: { id: job.id, version: job.version, state: job.state },
      });
      const types = receiver.received.map(({ body }) => body.type).sort();
      const isCorrection = type === 'job.sighted' || type === 'job.recovered';
      expect(types).toEqual(isCorrection ? ['job.lost', type].sort() : [type]);
      expect(new Set(receiver.received.map(({ id }) => id)).size).toBe(types.length);
    } finally {
      await receiver.stop();
    }
  },
);

test('whoever is told finds the change committed when he looks', async () => {
  const seen: { told: number; found: number }[] = [];
  const server = createServer(async (request, response) => {
    const { data } = JSON.parse(await text(request)) as { data: { id: string; version: number } };
    seen.push({ told: data.version, found: (await stores.jobs.get(data.id))?.version ?? 0 });
    response.end();
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  rig.deliverer.start();
  const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}/`;
  const expand = setInterval(() => void rig.deliverer.expand(), 1);
  for (let i = 0; i < 30; i++) await endJob(stores, { callback_url: url });
  await until(() => seen.length === 30);
  clearInterval(expand);
  // Behind the last of them, which would meet a closed connection.
  await rig.deliverer.expand();
  expect(seen.filter(({ told, found }) => found < told)).toEqual([]);
  await new Promise((resolve) => server.close(resolve));
});

test('a record whose time is up is kept until its change is told, though nobody told it while workers were off', async () => {
  const receiver = await startReceiver();
  const job = await endJob(stores, { callback_url: receiver.url });
  await stores.redis.zadd(stores.keys.expiring, 1, job.id);
  const workers = await startTestWorkers(redis.url, stores, { apiKey: 'a test', callbackSecret: null });
  try {
    await until(async () => (await rig.deliveries.get(callbackId(job))) !== null);
    expect(await stores.jobs.get(job.id)).not.toBeNull();
    expect(await stores.redis.exists(stores.keys.deliveriesPending(job.id))).toBe(1);
  } finally {
    await workers.close();
    await receiver.stop();
  }
});
