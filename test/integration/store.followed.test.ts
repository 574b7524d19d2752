/** The followed sets and the glance at many jobs: what whoever asks a host needs, and no more. */
import { afterAll, beforeAll, expect, it } from 'vitest';
import { launchToken } from '../../src/job/record.ts';
import { startRedis, type TestRedis } from '../helpers/redis.ts';
import { newJob, openStores, type Stores } from '../helpers/stores.ts';

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

/** A job that runs, started by a Full agent unless the fields say otherwise. */
async function running(host: string, nextInMs: number, fields: Partial<Parameters<typeof newJob>[0]> = {}) {
  const { jobs } = stores;
  const { started_by = 'full', agent_job_id, ...request } = fields;
  const accepted = await jobs.accept(newJob({ host, command: 'sleep 1', ...request }));
  if (accepted.kind !== 'accepted') throw new Error(accepted.kind);
  const { id } = accepted.job;
  const token = launchToken({ id, attempt: 1 });
  const started = { attempt: 1, started_by, agent_job_id: agent_job_id ?? token, store_id: 'store' };
  const dispatching = await jobs.transition(accepted.job, 'queued', 'dispatching', {
    ...started,
    dispatched_at: 1_000,
    why: 'starting attempt 1',
  });
  const next_poll_at = (await jobs.now()) + nextInMs;
  const job =
    dispatching &&
    (await jobs.transition(dispatching, 'dispatching', 'running', { next_poll_at, why: 'started' }));
  if (!job) throw new Error('not moved');
  return job;
}

it('glances at many jobs at once, and tells those that need more from those that are gone', async () => {
  const { jobs } = stores;
  const usual = await running('glanced', 0);
  const rare = await running('glanced', 0, { poll_interval: 120, agent_job_id: 'its own' });
  const base = await running('glanced', 0, { started_by: 'base' });
  const away = await running('glanced', 0);
  await jobs.transition(away, 'running', 'unreachable', { why: 'away' });
  const ids = [usual.id, rare.id, base.id, away.id, 'job_nobody'];
  const common = { started_by: 'full', version: 3, attempt: 1, store_id: 'store', dispatched_at: 1_000 };
  const silent = { stdout_bytes: null, stderr_bytes: null };
  expect(await jobs.glance(ids)).toEqual({
    running: [
      { ...common, ...silent, id: usual.id, agent_job_id: null, poll_interval: 15 },
      { ...common, ...silent, id: rare.id, agent_job_id: 'its own', poll_interval: 120 },
    ],
    others: [base.id, away.id],
    gone: ['job_nobody'],
  });
  expect(await jobs.get(rare.id)).toMatchObject({ poll_interval: 120, agent_job_id: 'its own' });
});

it('notes how much many jobs have written, but not of one that has moved on', async () => {
  const { jobs } = stores;
  const [grows, moves] = [await running('grown', 0), await running('grown', 0)];
  await jobs.transition(moves, 'running', 'unreachable', { why: 'away' });
  await jobs.noteGrowth([
    { ...grows, stdout_bytes: 7, stderr_bytes: null },
    { ...moves, stdout_bytes: 9, stderr_bytes: 9 },
  ]);
  expect(await jobs.get(grows.id)).toMatchObject({ stdout_bytes: 7, stderr_bytes: null, version: 3 });
  expect(await jobs.get(moves.id)).toMatchObject({ stdout_bytes: null, stderr_bytes: null });
});

it('names the hosts that nobody asks, among any number, and nobody else', async () => {
  const { followed } = stores;
  for (let i = 0; i < 600; i++) {
    await stores.redis.zadd(stores.keys.hostsFollowed, 0, `other${i}`);
    await stores.redis.zadd(stores.keys.followed(`other${i}`), Date.now() + 60_000, 'job');
  }
  const late = await running('late', -30_000);
  await running('late', 60_000);
  await running('soon', -5_000);
  const unasked = (await followed.unasked(20_000)).filter(({ host }) => host === 'late' || host === 'soon');
  expect(unasked.map(({ host }) => host)).toEqual(['late']);
  expect(unasked[0]?.lateMs).toBeGreaterThanOrEqual(30_000);
  expect(await followed.nextInMs('late')).toBeLessThanOrEqual(-30_000);
  expect((await followed.due('late', 10)).ids).toEqual([late.id]);
  await followed.askAt('late', new Map([[late.id, Date.now() + 60_000]]));
  expect(await followed.unasked(20_000)).toEqual([]);
  expect(await followed.nextInMs('nobody')).toBeNull();
});
