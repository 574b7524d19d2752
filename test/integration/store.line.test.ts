/** The line of a unique key on a real Redis: who holds it, who comes next, and what lets go of it. */
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import type { Change } from '../../src/job/move.ts';
import { outcome } from '../../src/job/outcome.ts';
import type { CancelOrder, Job, OnDuplicate } from '../../src/job/record.ts';
import type { State } from '../../src/job/states.ts';
import { HELD_AT, placeOf } from '../../src/store/mailbox/places.ts';
import { startRedis, type TestRedis } from '../helpers/redis.ts';
import { newJob, openStores, type Stores } from '../helpers/stores.ts';
import { until } from '../helpers/until.ts';

const ORDER: CancelOrder = { signal: 'TERM', grace_seconds: 1, reason: null };
const LIMITS = { max_requests: 8, max_jobs: null, rate: null };
const TAKE = { leaseMs: 60_000, most: 8, revision: 0 };

let redis: TestRedis;
let stores: Stores;

beforeAll(async () => {
  redis = await startRedis();
  stores = await openStores(redis.url);
});
beforeEach(async () => {
  await stores.redis.flushall();
  await stores.redis.hset(stores.keys.hostHealth('h'), 'status', 'up');
});
afterAll(async () => {
  await stores?.close();
  await redis?.stop();
});

const keyed = (fields: Partial<Job> = {}) =>
  newJob({ host: 'h', command: 'true', unique_key: 'k', ...fields });
const submit = (onDuplicate: OnDuplicate, fields: Partial<Job> = {}, key?: string) =>
  stores.jobs.accept(keyed(fields), key === undefined ? undefined : { key, fingerprint: 'f'.repeat(20) }, {
    onDuplicate,
  });

async function accepted(onDuplicate: OnDuplicate, fields: Partial<Job> = {}): Promise<Job> {
  const result = await submit(onDuplicate, fields);
  if (result.kind !== 'accepted') throw new Error(result.kind);
  return result.job;
}
/** As the API does it. */
async function replace(fields: Partial<Job> = {}): Promise<Job> {
  const result = await submit('replace', fields);
  if (result.kind !== 'accepted') throw new Error(result.kind);
  if (result.replaces !== null) for (const id of [result.replaces, result.job.id]) await stores.succeed(id);
  return result.job;
}
async function move(id: string, to: State, change: Partial<Change> = {}): Promise<Job> {
  const job = (await stores.jobs.get(id)) as Job;
  const moved = await stores.jobs.transition(job, job.state, to as never, { why: 'test', ...change });
  if (!moved) throw new Error(`${id} was not moved from ${job.state} to ${to}`);
  return moved;
}
async function run(id: string): Promise<void> {
  await move(id, 'dispatching', { attempt: 1, started_by: 'full' });
  await move(id, 'running', { next_poll_at: Date.now() });
}
const stateOf = async (id: string) => (await stores.jobs.get(id))?.state;
const startable = async () => (await stores.mailbox.take('h', LIMITS, TAKE)).claims.map(({ id }) => id);
const isHeld = async (job: Job) =>
  Number(await stores.redis.zscore(stores.keys.mailbox(job.host), placeOf(job))) === HELD_AT;
const isFree = (job: Job) => until(async () => !(await isHeld(job)));
const ended = { outcome: outcome('canceled', { proof: 'cgroup' }) };

describe('a unique key that is held', () => {
  it.each(['attach', 'reject', 'replace'] as const)(
    'is nobody else’s: %s without one that holds it accepts',
    async (what) => {
      const job = await accepted(what);
      expect(await accepted(what, { unique_key: 'another' })).toBeTruthy();
      expect(await accepted(what, { created_by: 'another' })).toBeTruthy();
      expect(await stores.lines.read(job)).toEqual({ holder: job.id, next: null });
      expect(await startable()).toContain(job.id);
    },
  );

  it('is held by one of many that come at once', async () => {
    const results = await Promise.all(Array.from({ length: 30 }, () => submit('attach')));
    const kinds = results.map(({ kind }) => kind);
    expect(kinds.filter((kind) => kind === 'accepted')).toHaveLength(1);
    expect(kinds.filter((kind) => kind === 'attached')).toHaveLength(29);
    expect(new Set(results.map((result) => 'job' in result && result.job.id)).size).toBe(1);
  });

  it('answers with who holds it, and stores nothing, on attach and on reject', async () => {
    const holder = await accepted('attach');
    const before = await stores.redis.dbsize();
    expect(await submit('attach', { command: 'false', host: 'elsewhere' })).toMatchObject({
      kind: 'attached',
      job: { id: holder.id, command: 'true' },
    });
    expect(await submit('reject')).toMatchObject({ kind: 'duplicate', job: { id: holder.id } });
    expect(await stores.redis.dbsize()).toBe(before);
  });

  it('is free once who held it is over', async () => {
    const first = await accepted('attach');
    await run(first.id);
    await move(first.id, 'failed', { outcome: outcome('exit', { return_code: 3, proof: 'none' }) });
    const second = await accepted('reject');
    expect(await stores.lines.read(second)).toEqual({ holder: second.id, next: null });
  });

  it('is free for who waits for no proof once who held it is over, or has no record', async () => {
    const first = await accepted('attach');
    await run(first.id);
    await move(first.id, 'canceled', { outcome: outcome('canceled', { proof: 'none' }) });
    const second = await accepted('attach');
    await stores.redis.del(stores.keys.job(second.id), stores.keys.jobRequest(second.id));
    const third = await accepted('reject');
    expect(await stores.lines.read(third)).toEqual({ holder: third.id, next: null });
  });

  it('is kept through a retry, and free after a cancel between two attempts', async () => {
    const first = await accepted('attach');
    await run(first.id);
    await move(first.id, 'queued', { attempt: 2, eligible_at: Date.now() + 600_000 });
    expect(await submit('reject')).toMatchObject({ kind: 'duplicate' });
    await stores.cancel(first.id, ORDER, 'test');
    expect(await accepted('reject')).toBeTruthy();
  });
});

describe('replace', () => {
  it('of a job that was not started cancels it at once, and the new one may start', async () => {
    const first = await accepted('attach');
    const second = await replace();
    expect(await stores.jobs.get(first.id)).toMatchObject({
      state: 'canceled',
      canceled_by: 'test',
      outcome: { message: `replaced by ${second.id}` },
    });
    await isFree(second);
    expect(await startable()).toEqual([second.id]);
    const [event] = await stores.jobs.events(second.id);
    expect(event?.why).toBe(`replaces ${first.id}`);
  });

  it('keeps nobody looking at the host where the new one waits', async () => {
    const first = await accepted('attach', { host: 'elsewhere' });
    await run(first.id);
    await replace();
    expect(await stores.mailbox.take('h', LIMITS, TAKE)).toMatchObject({
      claims: [],
      waiting: 0,
      lookInMs: null,
    });
  });

  it('of one that runs cancels it, and the new one waits, on another host too, until that is proven', async () => {
    const first = await accepted('attach', { host: 'elsewhere' });
    await run(first.id);
    const second = await replace();
    expect(await stores.jobs.get(first.id)).toMatchObject({ state: 'canceling', cancel: { signal: 'TERM' } });
    expect(await startable()).toEqual([]);
    expect(await isHeld(second)).toBe(true);
    await move(first.id, 'canceled', ended);
    await isFree(second);
    expect(await startable()).toEqual([second.id]);
    expect(await stores.redis.exists(stores.keys.succession)).toBe(0);
  });

  it('starts nothing while another one holds the key, whoever asks', async () => {
    const first = await accepted('attach');
    await run(first.id);
    const second = await replace();
    const start = { attempt: 1, started_by: 'full' as const, why: 'test' };
    expect(await stores.jobs.transition(second, 'queued', 'dispatching', start)).toBe(false);
    expect(await stateOf(second.id)).toBe('queued');
  });

  it('of one that waits to replace cancels that at once: the newest waits for the one that runs', async () => {
    const first = await accepted('attach');
    await run(first.id);
    const second = await replace();
    const third = await replace();
    expect(await stateOf(second.id)).toBe('canceled');
    expect(await stores.lines.read(third)).toEqual({ holder: first.id, next: third.id });
    expect(await submit('attach')).toMatchObject({ kind: 'attached', job: { id: third.id } });
    expect(await submit('reject')).toMatchObject({ kind: 'duplicate', job: { id: third.id } });
    await move(first.id, 'canceled', ended);
    await isFree(third);
    expect(await startable()).toEqual([third.id]);
  });

  it('by many at once ends with one that may start', async () => {
    const first = await accepted('attach');
    await run(first.id);
    const all = await Promise.all(Array.from({ length: 20 }, () => replace()));
    await move(first.id, 'canceled', ended);
    const waiting = await until(async () => {
      for (const id of await stores.jobs.overdue('succession', 100)) await stores.succeed(id);
      const found = await stores.jobs.getMany(all.map(({ id }) => id));
      const queued = found.filter((job) => job?.state === 'queued');
      return queued.length === 1 && queued;
    });
    await isFree(waiting[0] as Job);
    expect(await startable()).toEqual([waiting[0]?.id]);
  });

  it('respects the time before which the new one may not start', async () => {
    const first = await accepted('attach');
    await run(first.id);
    const not_before = Date.now() + 600_000;
    const second = await replace({ not_before });
    await move(first.id, 'canceled', ended);
    await isFree(second);
    expect(Number(await stores.redis.zscore(stores.keys.mailbox('h'), placeOf(second)))).toBe(not_before);
  });

  it('leaves the key with the old one where the new one is canceled or expires first', async () => {
    const first = await accepted('attach');
    await run(first.id);
    const second = await replace();
    await stores.cancel(second.id, ORDER, 'test');
    const third = await replace();
    await move(third.id, 'expired', { outcome: outcome('expired') });
    expect(await stores.lines.read(first)).toEqual({ holder: first.id, next: null });
    expect(await stores.redis.exists(stores.keys.succession)).toBe(0);
    await move(first.id, 'canceled', ended);
    expect(await stores.redis.exists(stores.keys.line('test', 'x'))).toBe(0);
    expect(await stores.lines.read(first)).toEqual({ holder: null, next: null });
  });

  it('is brought to its end by the sweep where whoever accepted it died', async () => {
    const first = await accepted('attach');
    await run(first.id);
    const { job: second } = (await submit('replace')) as { job: Job };
    expect(await stateOf(first.id)).toBe('running');
    const due = await until(async () => {
      const ids = await stores.jobs.overdue('succession', 10);
      return ids.includes(second.id) && ids;
    });
    for (const id of due) await stores.succeed(id);
    expect(await stateOf(first.id)).toBe('canceling');
    // Looked at again, but not at once.
    expect(await stores.jobs.overdue('succession', 10)).toEqual([]);
    expect(await stores.redis.zcard(stores.keys.succession)).toBe(1);
  });

  it('lets the new one start by the sweep where whoever ended the old one died', async () => {
    const first = await accepted('attach');
    await run(first.id);
    const second = await replace();
    // What the move of the old one leaves to do.
    const line = stores.keys.line('test', (await lineDigest()) as string);
    await stores.redis.hset(line, 'holder', second.id);
    await stores.redis.hdel(line, 'next');
    await stores.redis.zadd(stores.keys.succession, 0, second.id);
    expect(await isHeld(second)).toBe(true);
    for (const id of await stores.jobs.overdue('succession', 10)) await stores.succeed(id);
    expect(await startable()).toEqual([second.id]);
  });
});

/** The digest in the name of the only line. */
async function lineDigest(): Promise<string | undefined> {
  const [name] = await stores.redis.keys('*:unique:*');
  return name?.split(':').at(-1);
}

describe('a job that is over and may still be at work', () => {
  const lost = (kind: 'silent' | 'ambiguous_start' | 'forgotten' | 'reboot' | 'exit_unknown') => ({
    outcome: outcome(kind),
    lost_at: Date.now(),
  });

  it.each(['silent', 'ambiguous_start', 'forgotten'] as const)('keeps its key: lost, %s', async (kind) => {
    const first = await accepted('attach');
    await run(first.id);
    await move(first.id, 'lost', lost(kind));
    expect(await submit('reject')).toMatchObject({ kind: 'duplicate', job: { id: first.id, state: 'lost' } });
    const second = await replace();
    expect(await stores.jobs.get(first.id)).toMatchObject({ state: 'lost', cancel: { signal: 'TERM' } });
    expect(await startable()).toEqual([]);
    // Seen running, it is as lost as before; found over, it lets go.
    await move(first.id, 'lost', { sighted_at: Date.now(), type: 'job.sighted' });
    expect(await isHeld(second)).toBe(true);
    await move(first.id, 'canceled', { ...ended, type: 'job.recovered' });
    await isFree(second);
  });

  it('lets go once its host says that it was rebooted meanwhile', async () => {
    const first = await accepted('attach');
    await run(first.id);
    await move(first.id, 'lost', lost('silent'));
    const second = await replace();
    await move(first.id, 'lost', lost('reboot'));
    await isFree(second);
  });

  it.each(['reboot', 'exit_unknown'] as const)('has let go: lost, %s', async (kind) => {
    const first = await accepted('attach');
    await run(first.id);
    await move(first.id, 'lost', lost(kind));
    expect(await accepted('reject')).toBeTruthy();
  });

  it.each([
    ['canceled without a proof', 'canceled', outcome('canceled', { proof: 'none' })],
    ['timed_out without a proof', 'timed_out', outcome('timeout', { proof: 'none' })],
    [
      'timed_out with processes left',
      'timed_out',
      outcome('timeout', { proof: 'cgroup', leftover_processes: 1 }),
    ],
  ] as const)('keeps its key for who replaces it, to the end of its record: %s', async (_, state, ended) => {
    const first = await accepted('attach');
    await run(first.id);
    const second = await replace();
    await move(first.id, state, { outcome: ended });
    await stores.succeed(second.id);
    expect(await isHeld(second)).toBe(true);
    expect(await submit('reject')).toMatchObject({ kind: 'duplicate', job: { id: second.id } });
    expect(await stores.jobs.remove((await stores.jobs.get(first.id)) as Job)).toBe(true);
    await until(async () => {
      for (const id of await stores.jobs.overdue('succession', 10)) await stores.succeed(id);
      return !(await isHeld(second));
    });
    expect(await startable()).toEqual([second.id]);
  });
});

describe('an idempotency key', () => {
  it('of thousands of requests that were attached goes with the record', async () => {
    const first = await accepted('attach');
    await Promise.all(Array.from({ length: 9_000 }, (_, i) => submit('attach', {}, `many-${i}`)));
    await stores.cancel(first.id, ORDER, 'test');
    expect(await stores.jobs.remove((await stores.jobs.get(first.id)) as Job)).toBe(true);
    expect(await stores.redis.keys('*:idempotency:*')).toEqual([]);
  });

  it('of a request that was attached goes on standing for that job, and goes with its record', async () => {
    const first = await accepted('attach');
    const attached = await submit('attach', { command: 'false' }, 'request-1');
    expect(attached).toMatchObject({ kind: 'attached', job: { id: first.id } });
    await run(first.id);
    await move(first.id, 'succeeded', { outcome: outcome('exit', { return_code: 0 }) });
    expect(await submit('attach', { command: 'false' }, 'request-1')).toMatchObject({
      kind: 'replayed',
      attached: true,
      job: { id: first.id, state: 'succeeded' },
    });
    expect(await stores.jobs.remove((await stores.jobs.get(first.id)) as Job)).toBe(true);
    expect(await submit('attach', { command: 'false' }, 'request-1')).toMatchObject({ kind: 'accepted' });
  });

  it('of a replacing request replaces once', async () => {
    const first = await accepted('attach');
    const second = await submit('replace', {}, 'request-2');
    expect(second).toMatchObject({ kind: 'accepted', replaces: first.id });
    expect(await submit('replace', {}, 'request-2')).toMatchObject({ kind: 'replayed', attached: false });
    expect(await stores.lines.read(first)).toMatchObject({ holder: first.id });
  });

  it('of a refused request stands for nothing', async () => {
    const first = await accepted('attach');
    expect(await submit('reject', {}, 'request-3')).toMatchObject({ kind: 'duplicate' });
    await stores.cancel(first.id, ORDER, 'test');
    expect(await submit('reject', {}, 'request-3')).toMatchObject({ kind: 'accepted' });
  });
});

it('a removed record takes the attached keys with it that came while it was being removed', async () => {
  const first = await accepted('attach');
  await run(first.id);
  const lostOne = await move(first.id, 'lost', { outcome: outcome('silent'), lost_at: Date.now() });
  const [removed, attached] = await Promise.all([
    stores.jobs.remove(lostOne),
    submit('attach', {}, 'request-4'),
  ]);
  if (attached.kind === 'attached') expect(removed).toBe(false);
  await stores.jobs.remove(lostOne);
  const left = (await stores.redis.keys('*')).filter(
    (name) => name.includes(first.id) || name.includes('idempotency'),
  );
  if (attached.kind === 'attached') expect(left).toEqual([]);
});

it('leaves nothing in Redis once its jobs are gone, and one that waits costs less than 2 KB', async () => {
  await stores.redis.flushall();
  const first = await accepted('attach');
  await run(first.id);
  const names = new Set(await stores.redis.keys('*'));
  const second = await replace({ labels: { dag_id: 'nightly', run_id: 'scheduled__2026-11-22' } });
  let bytes = 0;
  for (const name of await stores.redis.keys('*')) {
    const usage = Number(await stores.redis.call('MEMORY', 'USAGE', name));
    if (!name.includes(':queue:') && (name.includes(':unique:') || !names.has(name))) bytes += usage;
  }
  expect(bytes).toBeLessThan(2_048);
  await move(first.id, 'canceled', ended);
  await stores.cancel(second.id, ORDER, 'test');
  for (const { id } of [first, second]) await stores.jobs.remove((await stores.jobs.get(id)) as Job);
  const left = await stores.redis.keys('*');
  expect(
    left.filter((name) => !/:(events|host:.*|hosts:.*|queue:.*)$/.test(name) && !name.includes(':queue:')),
  ).toEqual([]);
});
