/** How job records are kept in Redis: compact, and readable where earlier versions wrote them. */
import { afterAll, beforeAll, expect, it } from 'vitest';
import { launchToken } from '../../src/job/record.ts';
import { digestOf } from '../../src/store/jobs/idempotency.ts';
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

async function running(fields: Partial<Parameters<typeof newJob>[0]> = {}, why = 'started') {
  const { jobs } = stores;
  const wanted = newJob({ host: 'h', command: 'x'.repeat(150), created_by: 'bench', ...fields });
  const accepted = await jobs.accept(wanted, { key: `key of ${wanted.id}`, fingerprint: 'f'.repeat(43) });
  if (accepted.kind !== 'accepted') throw new Error(accepted.kind);
  const token = launchToken({ id: wanted.id, attempt: 1 });
  const started = { attempt: 1, started_by: 'full' as const, store_id: 's'.repeat(36), agent_job_id: token };
  const dispatching = await jobs.transition(accepted.job, 'queued', 'dispatching', {
    ...started,
    dispatched_at: Date.now(),
    why: 'starting attempt 1',
  });
  const job =
    dispatching &&
    (await jobs.transition(dispatching, 'dispatching', 'running', {
      started_at: Date.now(),
      stdout_bytes: 0,
      stderr_bytes: 0,
      next_poll_at: Date.now(),
      why,
    }));
  if (!job) throw new Error('not moved');
  return job;
}

async function bytesOf(names: string[]): Promise<number> {
  const sizes = await Promise.all(names.map((name) => stores.redis.memory('USAGE', name)));
  return sizes.reduce<number>((sum, size) => sum + (size ?? 0), 0);
}

it('costs a running job under 1,300 bytes of keys of its own, with its idempotency key, labels and events', async () => {
  const labels = { dag_id: 'nightly', run_id: 'scheduled__2026-11-22', task_id: 'load_orders' };
  const job = await running({ labels, poll_interval: 30 });
  const names = await stores.redis.keys(`*${job.id}*`);
  const { idempotency } = await stores.jobs.get(job.id).then((found) => found ?? job);
  names.push(stores.keys.idempotency('bench', idempotency as string));
  expect(names.length).toBe(3);
  expect(await bytesOf(names)).toBeLessThan(1_300);
  expect(await stores.redis.object('ENCODING', stores.keys.job(job.id))).toBe('listpack');
});

it('keeps events that are long or late beside the first ones, and lists them in order', async () => {
  const why = `the host says: ${'long '.repeat(40)}\nand more`;
  let job = await running({}, why);
  for (let i = 0; i < 4; i++) {
    const away = await stores.jobs.transition(job, 'running', 'unreachable', { why: 'away' });
    const back = away && (await stores.jobs.transition(away, 'unreachable', 'running', { why: 'back' }));
    if (!back) throw new Error('not moved');
    job = back;
  }
  const events = await stores.jobs.events(job.id);
  expect(events.map(({ version }) => version)).toEqual(Array.from({ length: 11 }, (_, i) => i + 1));
  expect(events[2]).toMatchObject({ state: 'running', why });
  expect(events.slice(3).map(({ state }) => state)).toEqual(
    Array.from({ length: 8 }, (_, i) => (i % 2 === 0 ? 'unreachable' : 'running')),
  );
  expect(await stores.redis.object('ENCODING', stores.keys.job(job.id))).toBe('listpack');
  expect(await stores.jobs.get(job.id)).toEqual(job);
});

it('reads records, events and idempotency keys as earlier versions wrote them, and goes on from there', async () => {
  const { redis: client, keys, jobs } = stores;
  const job = newJob({ host: 'web', target_server: '127.0.0.1:18443', command: 'true', created_by: 'old' });
  const digest = digestOf('k');
  const { id, created_at } = job;
  await client.set(
    keys.jobRequest(id),
    JSON.stringify({
      ...{ id, target_server: job.target_server, host: 'web', command: 'true', labels: {} },
      ...{ created_by: 'old', created_at, idempotency: digest },
    }),
  );
  await client.hset(keys.job(id), {
    ...{ state: 'running', version: 3, move: 'aaaaaaaa', attempt: 1, started_by: 'full' },
    ...{ agent_job_id: `${id}-1`, dispatched_at: created_at + 1 },
  });
  await client.rpush(
    keys.jobEvents(id),
    JSON.stringify([1, 'queued', created_at, 'accepted']),
    JSON.stringify([2, 'dispatching', created_at + 1, 'starting attempt 1 on web']),
    JSON.stringify([3, 'running', created_at + 2, 'started']),
  );
  await client.hset(keys.idempotency('old', digest), { id, fingerprint: 'f'.repeat(43) });

  const found = await jobs.get(id);
  expect(found).toMatchObject({ id, host: 'web', created_at, state: 'running', agent_job_id: `${id}-1` });
  if (!found) throw new Error('not found');
  await jobs.transition(found, 'running', 'unreachable', { why: 'away' });
  expect(await jobs.events(id)).toMatchObject([
    { version: 1, state: 'queued', at: created_at },
    { version: 2, why: 'starting attempt 1 on web' },
    { version: 3, state: 'running' },
    { version: 4, state: 'unreachable', why: 'away' },
  ]);
  const again = { key: 'k', fingerprint: 'f'.repeat(43) };
  expect(await jobs.findAccepted('old', again)).toMatchObject({ kind: 'replayed', job: { id } });
  expect(await jobs.accept(newJob({ host: 'web', command: 'true', created_by: 'old' }), again)).toMatchObject(
    {
      kind: 'replayed',
      job: { id },
    },
  );
  expect(await jobs.findAccepted('old', { key: 'k', fingerprint: 'g' })).toMatchObject({
    kind: 'conflict',
    id,
  });
});
