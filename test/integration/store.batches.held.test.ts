/** Jobs that their batch holds back: for want of a place, or because it is paused. */
import { afterAll, beforeAll, beforeEach, expect, it } from 'vitest';
import { nextAttempt } from '../../src/job/attempts.ts';
import type { Batch } from '../../src/job/batch.ts';
import { outcome } from '../../src/job/outcome.ts';
import type { Job } from '../../src/job/record.ts';
import { type BatchByHand, createBatchByHand } from '../helpers/batch-by-hand.ts';
import { startRedis, type TestRedis } from '../helpers/redis.ts';
import { openStores, type Stores } from '../helpers/stores.ts';

let redis: TestRedis;
let stores: Stores;
let batch: BatchByHand;

beforeAll(async () => {
  redis = await startRedis();
  stores = await openStores(redis.url);
  batch = createBatchByHand(stores);
});
beforeEach(() => stores.redis.flushall());
afterAll(async () => {
  await stores?.close();
  await redis?.stop();
});

const start = (job: Job) =>
  stores.jobs.transition(job, 'queued', 'dispatching', { why: 'a test', attempt: Math.max(1, job.attempt) });

/** A batch of one at a time whose hosts were all down when its jobs were made, and are back. */
async function afterAnOutage(hosts: string[]): Promise<Batch> {
  for (const host of hosts) await stores.redis.zadd(stores.keys.hostsIn('down'), Date.now(), host);
  const begun = await batch.begin(hosts, { max_parallel: 1 });
  expect(begun.counts.queued).toBe(hosts.length);
  await stores.redis.del(stores.keys.hostsIn('down'));
  return begun;
}

it('for one place that comes free one of them is let go, and not all', async () => {
  const hosts = ['web1', 'web2', 'web3', 'web4'];
  const begun = await afterAnOutage(hosts);
  await batch.start(begun, 'web1');
  for (const host of hosts.slice(1)) expect(await start(await batch.jobOf(begun, host))).toBe(false);
  expect(await batch.batches.look(begun.id)).toMatchObject({ free: 0, held: [1, 2, 3] });

  await batch.end(begun, 'web1', 0);
  const after = await batch.batches.look(begun.id);
  expect(after?.held).toHaveLength(2);
  expect(after).toMatchObject({ free: 0, room: 0 });
  expect(after?.lookInMs).toBeGreaterThan(0);
});

/** The job of `web1` after an attempt that failed, waiting for the next one. */
async function withNextAttempt(begun: Batch): Promise<Job> {
  const running = await batch.start(begun, 'web1');
  const ended = { state: 'failed' as const, change: { outcome: outcome('exit', { return_code: 1 }) } };
  const change = nextAttempt(running, ended, { eligible_at: 0, why: 'again' });
  return (await stores.jobs.transition(running, 'running', 'queued', change)) as Job;
}

it('a further attempt waits while the batch is paused, and has all of its time when it is let go', async () => {
  const begun = await batch.begin(['web1', 'web2'], { max_parallel: 1 });
  const waiting = await withNextAttempt(begun);
  await batch.batches.order(begun.id, { kind: 'pause' });
  expect(await start(waiting)).toBe(false);
  expect(await stores.redis.zscore(stores.keys.deadlines, waiting.id)).toBeNull();

  await batch.batches.order(begun.id, { kind: 'resume' });
  await batch.proceed(begun.id);
  const let_go = await batch.jobOf(begun, 'web1');
  expect(let_go.let_go_at).not.toBeNull();
  expect(await start(let_go)).toMatchObject({ state: 'dispatching' });
});

it('a further attempt goes on where the batch stops: what was started once is under way', async () => {
  const begun = await batch.begin(['web1', 'web2', 'web3'], { max_parallel: 3, max_failures: 0 });
  const waiting = await withNextAttempt(begun);
  await batch.batches.order(begun.id, { kind: 'pause' });
  expect(await start(waiting)).toBe(false);
  await batch.batches.order(begun.id, { kind: 'resume' });
  expect((await batch.end(begun, 'web2', 1)).state).toBe('stopping');
  await batch.proceed(begun.id);
  expect(await start(await batch.jobOf(begun, 'web1'))).toMatchObject({ state: 'dispatching' });
});
