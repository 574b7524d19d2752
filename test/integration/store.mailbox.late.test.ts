/** Places and slots when a worker comes back that was held up for longer than its lease. */
import { afterAll, beforeAll, beforeEach, expect, it } from 'vitest';
import type { Job } from '../../src/job/record.ts';
import { holderOf } from '../../src/store/mailbox/take.ts';
import type { Claim } from '../../src/store/mailbox.ts';
import { startRedis, type TestRedis } from '../helpers/redis.ts';
import { findContradictions } from '../helpers/store-truth.ts';
import { newJob, openStores, type Stores } from '../helpers/stores.ts';

const LIMITS = { max_requests: 4, max_jobs: null, rate: null };
const HOUR_MS = 3_600_000;

let redis: TestRedis;
let stores: Stores;
beforeAll(async () => {
  redis = await startRedis();
  stores = await openStores(redis.url);
});
afterAll(async () => {
  await stores?.close();
  await redis?.stop();
});
beforeEach(async () => {
  // Its own only: there may be another gateway on this Redis.
  const own = await stores.redis.keys(`${stores.keys.prefix}:*`);
  if (own.length > 0) await stores.redis.del(...own);
  await stores.redis.hset(stores.keys.hostHealth('h'), 'status', 'up');
});

async function take(most: number): Promise<Claim[]> {
  return (await stores.mailbox.take('h', LIMITS, { leaseMs: HOUR_MS, most, revision: 0 })).claims;
}

/** A start under way, by a worker that takes no part for so long that its slot is taken back, and its job lined up. */
async function heldUp(): Promise<{ job: Job; claim: Claim }> {
  const accepted = await stores.jobs.accept(newJob({ host: 'h', command: 'true' }));
  const [claim] = await take(1);
  if (accepted.kind !== 'accepted' || !claim) throw new Error('not claimed');
  const change = { attempt: 1, why: 'by a test' };
  const job = await stores.jobs.transition(accepted.job, 'queued', 'dispatching', change);
  if (!job) throw new Error('not started');
  await stores.redis.zadd(stores.keys.slots('h'), 'XX', 1, holderOf(claim));
  expect(await take(0)).toEqual([]);
  return { job, claim };
}

const putBack = (job: Job, inMs: number) =>
  stores.jobs.transition(job, 'dispatching', 'queued', { eligible_at: Date.now() + inMs, why: 'by a test' });

it('a start that it puts back for later waits until then, though another worker had it lined up', async () => {
  const { job } = await heldUp();
  expect(await putBack(job, HOUR_MS)).toMatchObject({ state: 'queued' });
  expect(await findContradictions(stores)).toEqual([]);
  expect(await take(3)).toEqual([]);
});

it('a start that it puts back is not put off by who gives back a slot for it', async () => {
  const { job } = await heldUp();
  const [claim] = await take(1);
  expect(await putBack(job, 0)).toMatchObject({ state: 'queued' });
  await stores.mailbox.giveBack('h', claim as Claim, HOUR_MS);
  expect(await take(1)).toMatchObject([{ id: job.id }]);
});

it('a cancel of what is lined up for the second time leaves the turns of its caller as they were', async () => {
  const { job } = await heldUp();
  const before = await stores.redis.hgetall(stores.keys.turns('h'));
  await stores.cancel(job.id, { signal: 'TERM', grace_seconds: 1, reason: null }, 'test');
  expect(await stores.redis.hgetall(stores.keys.turns('h'))).toEqual(before);
});
