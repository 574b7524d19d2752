/** The survey on a real Redis: how long jobs have waited that may start, and how late questions and deliveries are. */
import { pino } from 'pino';
import { afterAll, afterEach, beforeAll, beforeEach, expect, it } from 'vitest';
import type { Job } from '../../src/job/record.ts';
import { createSurveyStore } from '../../src/store/vitals/survey.ts';
import { createVitals } from '../../src/store/vitals.ts';
import { createSurvey, type SurveyLoop } from '../../src/workers/survey.ts';
import { createBatchByHand } from '../helpers/batch-by-hand.ts';
import { createRig, endJob, type Rig } from '../helpers/deliverer.ts';
import { startRedis, type TestRedis } from '../helpers/redis.ts';
import { newJob, openStores, type Stores } from '../helpers/stores.ts';
import { until } from '../helpers/until.ts';

const MINUTE = 60_000;
const SILENT = { status: 'unreachable', cause: 'no answer', remedy: null } as const;

let redis: TestRedis;
let stores: Stores;
let survey: SurveyLoop | undefined;

beforeAll(async () => {
  redis = await startRedis();
  stores = await openStores(redis.url);
});
afterAll(async () => {
  await stores?.close();
  await redis?.stop();
});
beforeEach(async () => {
  await stores.redis.flushall();
});
afterEach(async () => {
  await survey?.close();
});

/** What a survey that begins now finds. */
async function look() {
  const log = pino({ level: process.env.TEST_LOG ?? 'silent' });
  const vitals = createVitals(stores);
  survey = createSurvey({ ...stores, vitals, survey: createSurveyStore(stores), owner: 'a test', log });
  survey.start();
  return until(async () => (await vitals.read()).survey, { what: 'a survey' });
}

const LIMITS = { max_requests: 4, max_jobs: null, rate: null };
/** Lines up what may start, without starting anything. */
const lineUp = (host: string) => stores.mailbox.take(host, LIMITS, { leaseMs: 1_000, most: 0, revision: 0 });

it('an idle gateway has nothing that waits and nothing that is late', async () => {
  const nothing = { jobs: 0, oldestMs: 0 };
  expect(await look()).toEqual({
    waiting: { up: nothing, away: nothing, draining: nothing },
    polls: { lateMs: 0, lateHosts: 0 },
    deliveries: { lagMs: 0 },
    batches: {
      open: { running: 0, paused: 0, stopping: 0, canceling: 0 },
      hosts: { unstarted: 0, under_way: 0 },
      pausedMs: 0,
    },
  });
});

it('batches that are not over are counted with their hosts, and how long one has been paused', async () => {
  const batch = createBatchByHand(stores);
  const over = await batch.begin(['web1']);
  await batch.end(over, 'web1', 0);
  const running = await batch.begin(['web1', 'web2', 'web3'], { max_parallel: 1 });
  await batch.end(running, 'web1', 0);
  const paused = await batch.begin(['web1', 'web2']);
  await batch.batches.order(paused.id, { kind: 'pause' });
  await stores.redis.hincrby(stores.keys.batch(paused.id), 'state_at', -MINUTE);
  const { batches } = await look();
  expect(batches).toMatchObject({
    open: { running: 1, paused: 1, stopping: 0, canceling: 0 },
    hosts: { unstarted: 1, under_way: 3 },
  });
  expect(batches?.pausedMs).toBeGreaterThanOrEqual(MINUTE);
  expect(batches?.pausedMs).toBeLessThan(2 * MINUTE);
});

it('a batch that nobody goes on with is late by when it was due', async () => {
  const batch = createBatchByHand(stores);
  const { id } = await batch.begin(['web1']);
  await stores.redis.zadd(stores.keys.batchesDue, 1_000, id);
  expect((await createVitals(stores).read()).batchLateMs).toBeGreaterThan(MINUTE);
});

it('jobs that may start are counted with the longest wait, by what their hosts are up to', async () => {
  await stores.hosts.contacted('fine');
  await stores.hosts.contacted('leaving');
  await stores.hosts.setDraining('leaving', true);
  await stores.hosts.failed('gone', SILENT);
  const began = performance.now();
  const first = await stores.submit(newJob({ host: 'fine', command: 'true' }));
  await until(async () => (await stores.jobs.now()) > first.created_at + 1_000);
  const waited = performance.now() - began;
  // An urgent one goes before it, which does not make it younger.
  for (const host of ['fine', 'gone', 'leaving', 'new']) {
    await stores.submit(newJob({ host, command: 'true', priority: 9 }));
  }
  for (const host of ['fine', 'gone', 'leaving']) await lineUp(host);
  const { waiting } = await look();
  expect([waiting.up.jobs, waiting.away.jobs, waiting.draining.jobs]).toEqual([3, 1, 1]);
  expect(waiting.up.oldestMs).toBeGreaterThan(900);
  expect(waiting.up.oldestMs).toBeLessThan(performance.now() - began + 100);
  const others = performance.now() - began - waited + 100;
  expect(waiting.away.oldestMs).toBeLessThan(others);
  expect(waiting.draining.oldestMs).toBeLessThan(others);
});

it('a job that was put back waits from then on', async () => {
  await stores.hosts.contacted('fine');
  const { created_at } = await stores.submit(newJob({ host: 'fine', command: 'true' }));
  await until(async () => (await stores.jobs.now()) > created_at + 1_000);
  const taken = await stores.mailbox.take('fine', LIMITS, { leaseMs: 10_000, most: 1, revision: 0 });
  expect(taken.claims).toHaveLength(1);
  await stores.mailbox.giveBack('fine', taken.claims[0]!, 0);
  const { up } = (await look()).waiting;
  expect(up.jobs).toBe(1);
  expect(up.oldestMs).toBeLessThan(1_000 + 100);
});

it('a job that may not start yet does not wait', async () => {
  await stores.submit(newJob({ host: 'web1', command: 'true', not_before: Date.now() + 10 * MINUTE }));
  expect((await look()).waiting.up).toEqual({ jobs: 0, oldestMs: 0 });
});

it('questions that are late are told with the number of their hosts', async () => {
  for (const [host, lateMs] of [
    ['late', 30_000],
    ['later', 90_000],
    ['punctual', -30_000],
  ] as const) {
    const job = await stores.submit(newJob({ host, command: 'true' }));
    const starting = await stores.jobs.transition(job, 'queued', 'dispatching', {
      why: 'a test',
      attempt: 1,
    });
    await stores.jobs.transition(starting as Job, 'dispatching', 'running', {
      why: 'a test',
      next_poll_at: Date.now() - lateMs,
    });
  }
  const { polls } = await look();
  expect(polls.lateHosts).toBe(2);
  expect(Math.round(polls.lateMs / 10_000)).toBe(9);
});

it('a delivery that is due and not sent lags, and so does a change that nobody made into one', async () => {
  const rig: Rig = createRig(stores);
  await endJob(stores, { callback_url: 'http://127.0.0.1:9/' });
  const outbox = stores.keys.outbox;
  const entry = JSON.parse((await stores.redis.lindex(outbox, 0)) ?? '{}') as { at: number };
  await stores.redis.lset(outbox, 0, JSON.stringify({ ...entry, at: entry.at - MINUTE }));
  expect(Math.round((await look()).deliveries.lagMs / MINUTE)).toBe(1);
  await survey?.close();

  await rig.deliverer.expand();
  expect(await stores.redis.llen(outbox)).toBe(0);
  const [origin = ''] = await stores.redis.zrange(stores.keys.deliveriesDue, '0', '-1');
  const due = `${stores.keys.deliveriesDue}:${origin}`;
  const [id = ''] = await stores.redis.zrange(due, '0', '-1');
  await stores.redis.zadd(due, Date.now() - 2 * MINUTE, id);
  await stores.redis.del(stores.keys.vitals);
  expect(Math.round((await look()).deliveries.lagMs / MINUTE)).toBe(2);
  await rig.stop();
});
