/** The job store on a real Redis: acceptance, moves, lists, removal. */
import { randomBytes } from 'node:crypto';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { outcome } from '../../src/job/outcome.ts';
import { idAt, placeOf } from '../../src/store/mailbox/places.ts';
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

const accept = async (fields: Partial<Parameters<typeof newJob>[0]> = {}) => {
  const accepted = await stores.jobs.accept(newJob({ host: 'h', command: 'true', ...fields }));
  if (accepted.kind !== 'accepted') throw new Error(accepted.kind);
  return accepted.job;
};
const size = () => stores.redis.dbsize();

it('a job for a host that was changed or removed since it was looked at is not stored, and changes nothing', async () => {
  const job = newJob({ host: 'gone', command: 'true' });
  const idempotency = { key: 'gone-1', fingerprint: 'f'.repeat(43) };
  const register = (max_requests: number) =>
    stores.hosts.put('gone', { address: '127.0.0.1:18443', token: 'token', max_requests });
  await register(1);
  const seen = await stores.hosts.see('gone');
  if (!seen) throw new Error('not seen');
  expect(stores.hosts.remembered('gone')).toEqual(seen);
  await register(2);
  const hostPrint = seen.print;
  expect(await stores.jobs.accept(job, idempotency, { hostPrint })).toEqual({ kind: 'host_changed' });
  await stores.hosts.remove('gone');
  expect(await stores.jobs.accept(job, idempotency, { hostPrint })).toEqual({ kind: 'host_changed' });
  expect(await stores.jobs.get(job.id)).toBeNull();
  expect(await stores.jobs.findAccepted('test', idempotency)).toBeNull();
});

describe('accept', () => {
  it('stores the record, its event and its place in the mailbox at once', async () => {
    const job = await accept({ labels: { dag_id: 'nightly' } });
    expect(await stores.jobs.get(job.id)).toMatchObject({ ...job, state: 'queued', version: 1 });
    expect(await stores.jobs.events(job.id)).toMatchObject([{ version: 1, state: 'queued' }]);
    expect(await stores.redis.zscore(stores.keys.mailbox('h'), placeOf(job))).not.toBeNull();
    expect(await stores.redis.zscore(stores.keys.armed, 'h')).not.toBeNull();
  });

  it('with the same idempotency key and body finds the first job, with another body refuses', async () => {
    const first = await stores.jobs.accept(newJob({ host: 'h', command: 'true' }), {
      key: 'k',
      fingerprint: 'f',
    });
    const before = await size();
    const again = await stores.jobs.accept(newJob({ host: 'h', command: 'true' }), {
      key: 'k',
      fingerprint: 'f',
    });
    expect(again).toMatchObject({ kind: 'replayed', job: { id: first.kind === 'accepted' && first.job.id } });
    const other = await stores.jobs.accept(newJob({ host: 'h', command: 'false' }), {
      key: 'k',
      fingerprint: 'g',
    });
    expect(other.kind).toBe('conflict');
    expect(await size()).toBe(before);
  });

  it('keeps the idempotency keys of two callers apart', async () => {
    const key = { key: 'shared', fingerprint: 'f' };
    const [one, two] = await Promise.all(
      ['a', 'b'].map((created_by) =>
        stores.jobs.accept(newJob({ host: 'h', command: 'true', created_by }), key),
      ),
    );
    expect([one?.kind, two?.kind]).toEqual(['accepted', 'accepted']);
  });

  it('of fifty racing requests with one key takes one', async () => {
    const key = { key: 'race', fingerprint: 'f' };
    const all = await Promise.all(
      Array.from({ length: 50 }, () => stores.jobs.accept(newJob({ host: 'h', command: 'true' }), key)),
    );
    expect(all.filter(({ kind }) => kind === 'accepted')).toHaveLength(1);
  });
});

it('an acceptance that is sent again after its reply was lost changes nothing', async () => {
  const job = await accept();
  await stores.jobs.transition(job, 'queued', 'dispatching', { attempt: 1, why: 'started meanwhile' });
  expect(await stores.jobs.accept(job)).toMatchObject({ kind: 'accepted' });
  expect(await stores.jobs.get(job.id)).toMatchObject({ state: 'dispatching', version: 2 });
  expect(await stores.jobs.events(job.id)).toHaveLength(2);
});

describe('transition', () => {
  it('of twenty racing moves lets one win, and adds one version and one event', async () => {
    const job = await accept();
    const moves = await Promise.all(
      Array.from({ length: 20 }, () =>
        stores.jobs.transition(job, 'queued', 'dispatching', { attempt: 1, why: 'race' }),
      ),
    );
    expect(moves.filter(Boolean)).toHaveLength(1);
    expect(await stores.jobs.get(job.id)).toMatchObject({ state: 'dispatching', version: 2, attempt: 1 });
    expect(await stores.jobs.events(job.id)).toHaveLength(2);
  });

  it('does not let a report about an earlier attempt move a later one', async () => {
    const job = await accept();
    const first = await stores.jobs.transition(job, 'queued', 'dispatching', { attempt: 1, why: 'first' });
    if (!first) throw new Error('not moved');
    const requeued = await stores.jobs.transition(first, 'dispatching', 'queued', {
      attempt: 2,
      why: 'again',
    });
    if (!requeued) throw new Error('not moved');
    await stores.jobs.transition(requeued, 'queued', 'dispatching', { why: 'second' });
    expect(await stores.jobs.transition(first, 'dispatching', 'running', { why: 'late' })).toBe(false);
  });

  it('keeps exactly one place for a job: mailbox, followed set, or none', async () => {
    const places = async (id: string) => ({
      mailbox: (await stores.redis.zrange(stores.keys.mailbox('p'), 0, '-1')).some(
        (place) => idAt(place) === id,
      ),
      followed: (await stores.redis.zscore(stores.keys.followed('p'), id)) !== null,
    });
    const job = await accept({ host: 'p' });
    expect(await places(job.id)).toEqual({ mailbox: true, followed: false });
    const started = await stores.jobs.transition(job, 'queued', 'dispatching', { attempt: 1, why: '' });
    expect(await places(job.id)).toEqual({ mailbox: false, followed: false });
    const runs = await stores.jobs.transition(started || job, 'dispatching', 'running', {
      next_poll_at: 5,
      why: '',
    });
    expect(await places(job.id)).toEqual({ mailbox: false, followed: true });
    await stores.jobs.transition(runs || job, 'running', 'succeeded', { outcome: outcome('exit'), why: '' });
    expect(await places(job.id)).toEqual({ mailbox: false, followed: false });
    expect(await stores.redis.zscore(stores.keys.hostsFollowed, 'p')).toBeNull();
  });

  it('keeps a start deadline for just as long as the job waits for a start that has one', async () => {
    const deadlineOf = (id: string) => stores.redis.zscore(stores.keys.deadlines, id);
    const job = await accept({ start_deadline_seconds: 60 });
    const by = String(job.created_at + 60_000);
    const started = await stores.jobs.transition(job, 'queued', 'dispatching', { attempt: 1, why: '' });
    expect(await deadlineOf(job.id)).toBeNull();
    const waits = await stores.jobs.transition(started || job, 'dispatching', 'queued', { why: 'busy' });
    expect(await deadlineOf(job.id)).toBe(by);
    const again = await stores.jobs.transition(waits || job, 'queued', 'dispatching', { why: '' });
    await stores.jobs.transition(again || job, 'dispatching', 'queued', { attempt: 2, why: 'retry' });
    expect(await deadlineOf(job.id)).toBeNull();
  });

  it('keeps the ends of the output byte for byte', async () => {
    const job = await accept();
    const tails = { stdout: randomBytes(8192), stderr: Buffer.from([0, 255, 10]) };
    await stores.jobs.transition(job, 'queued', 'failed', { outcome: outcome('rejected'), tails, why: '' });
    expect(await stores.jobs.tails(job.id)).toEqual(tails);
  });

  it('puts what must be told into the outbox in the same step, and nothing else', async () => {
    await stores.redis.del(stores.keys.outbox);
    const quiet = await accept();
    await stores.jobs.transition(quiet, 'queued', 'canceled', { outcome: outcome('canceled'), why: '' });
    expect(await stores.redis.llen(stores.keys.outbox)).toBe(0);
    const told = await accept({ callback_url: 'http://receiver.example/' });
    await stores.jobs.transition(told, 'queued', 'canceled', { outcome: outcome('canceled'), why: '' });
    expect(await stores.redis.llen(stores.keys.outbox)).toBe(1);
  });
});

it('a cancel that is owed to a lost job is not told as a second end', async () => {
  await stores.redis.del(stores.keys.outbox);
  const job = await accept({ callback_url: 'http://receiver.example/' });
  const started = await stores.jobs.transition(job, 'queued', 'dispatching', { attempt: 1, why: '' });
  await stores.jobs.transition(started || job, 'dispatching', 'lost', {
    outcome: outcome('silent'),
    why: '',
  });
  expect(await stores.redis.llen(stores.keys.outbox)).toBe(1);
  await stores.cancel(job.id, { signal: 'TERM', grace_seconds: 1, reason: null }, 'test');
  expect(await stores.jobs.get(job.id)).toMatchObject({ state: 'lost', canceled_by: 'test' });
  expect(await stores.redis.llen(stores.keys.outbox)).toBe(1);
});

describe('list', () => {
  it('pages through everything once, newest first, while jobs are added', async () => {
    const ids: string[] = [];
    for (let i = 0; i < 25; i++) ids.push((await accept({ host: 'list', created_by: 'lister' })).id);
    const seen: string[] = [];
    for (let after: string | undefined; ; ) {
      const page = await stores.jobs.list({ owner: 'lister' }, { size: 10, ...(after && { after }) });
      seen.push(...page.jobs.map(({ id }) => id));
      if (page.after === null) break;
      after = page.after;
      await accept({ host: 'list', created_by: 'lister' });
    }
    expect(seen).toEqual(ids.toReversed());
  });

  it('filters by state, label, host and time', async () => {
    const job = await accept({ host: 'f1', labels: { tier: 'db' } });
    const other = await accept({ host: 'f1', labels: { tier: 'web' } });
    const ids = async (filter: Parameters<Stores['jobs']['list']>[0]) =>
      (await stores.jobs.list(filter, { size: 50 })).jobs.map(({ id }) => id);
    expect(await ids({ host: 'f1', label: { tier: 'db' } })).toEqual([job.id]);
    expect(await ids({ host: 'f1', state: ['running'] })).toEqual([]);
    expect(await ids({ host: 'f1', state: ['queued', 'running'] })).toEqual([other.id, job.id]);
    expect(await ids({ host: 'f1', created_after: other.created_at + 1 })).toEqual([]);
  });
});

it('removing a record leaves no key of it, but waits for its deliveries', async () => {
  const empty = await openStores(redis.url, { prefix: '{removal}' });
  const made = await empty.jobs.accept(newJob({ host: 'r', command: 'true' }), {
    key: 'k',
    fingerprint: 'f',
  });
  const job = await empty.jobs.transition(
    made.kind === 'accepted' ? made.job : newJob({ host: '', command: '' }),
    'queued',
    'canceled',
    {
      outcome: outcome('canceled'),
      tails: { stdout: Buffer.from('x'), stderr: Buffer.alloc(0) },
      why: '',
    },
  );
  if (!job) throw new Error('not moved');
  await empty.redis.sadd(empty.keys.deliveriesPending(job.id), 'msg');
  expect(await empty.jobs.remove(job)).toBe(false);
  await empty.redis.del(empty.keys.deliveriesPending(job.id));
  expect(await empty.jobs.remove(job)).toBe(true);
  const left = await empty.redis.keys('{removal}*');
  expect(left.filter((key) => key.includes(job.id) || key.includes('idempotency'))).toEqual([]);
  expect(await empty.redis.zcard(empty.keys.jobsAll)).toBe(0);
  await empty.close();
});

it('removal leaves a lost job that was corrected since it was looked at, with its place in the index', async () => {
  const job = await accept({ host: 'corrected' });
  const why = 'by a test';
  const started = await stores.jobs.transition(job, 'queued', 'dispatching', { attempt: 1, why });
  if (!started) throw new Error('not started');
  const lost = await stores.jobs.transition(started, 'dispatching', 'lost', { why });
  if (!lost) throw new Error('not lost');
  const found = await stores.jobs.transition(lost, 'lost', 'succeeded', { outcome: outcome('exit'), why });
  expect(found).toMatchObject({ state: 'succeeded' });
  expect(await stores.jobs.remove(lost)).toBe(false);
  expect(await stores.jobs.get(job.id)).toMatchObject({ state: 'succeeded', version: 4 });
  expect(await stores.jobs.remove((await stores.jobs.get(job.id)) ?? lost)).toBe(true);
  expect(await stores.redis.zscore(stores.keys.jobsByState('succeeded'), job.id)).toBeNull();
});
