/** Mailboxes, slots and leases on a real Redis: limits hold, and what a dead process held comes back. */
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { Job } from '../../src/job/record.ts';
import type { Claim, StartLimits } from '../../src/store/mailbox.ts';
import { startRedis, type TestRedis } from '../helpers/redis.ts';
import { newJob, openStores, type Stores } from '../helpers/stores.ts';
import { until } from '../helpers/until.ts';

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

/** Jobs for a host that is known to be up. */
async function fill(host: string, count: number, fields: Partial<Job> = {}): Promise<string[]> {
  await stores.hosts.contacted(host);
  const ids: string[] = [];
  for (let i = 0; i < count; i++) {
    const job = newJob({ host, command: 'true', ...fields });
    await stores.jobs.accept(job);
    ids.push(job.id);
  }
  return ids;
}

async function take(
  host: string,
  {
    leaseMs = 10_000,
    revision = 0,
    ...more
  }: Partial<StartLimits & { leaseMs: number; revision: number }> = {},
) {
  const limits = { max_requests: 4, max_jobs: null, rate: null, ...more };
  const taken = await stores.mailbox.take(host, limits, { leaseMs, most: 100, revision });
  return { ...taken, ids: taken.claims.map(({ id }) => id) };
}
async function claimOne(host: string, more: Partial<StartLimits> = {}): Promise<Claim> {
  const [claim] = (await take(host, more)).claims;
  if (!claim) throw new Error(`nothing may start on ${host}`);
  return claim;
}
/** What would be started one after another, each settled before the next. */
async function order(host: string, count: number): Promise<string[]> {
  const ids: string[] = [];
  for (let i = 0; i < count; i++) {
    const claim = await claimOne(host, { max_requests: 1 });
    await stores.mailbox.release(host, claim);
    ids.push(claim.id);
  }
  return ids;
}
const started = async (id: string) => {
  const job = await stores.jobs.get(id);
  const moved =
    job && (await stores.jobs.transition(job, 'queued', 'dispatching', { attempt: 1, why: 'test' }));
  if (!moved) throw new Error(`${id} is not queued`);
  return moved;
};

describe('take', () => {
  it('gives jobs in order and leaves one slot for questions', async () => {
    const ids = await fill('order', 6);
    const taken = await take('order');
    expect(taken.ids).toEqual(ids.slice(0, 3));
    expect(await take('order')).toMatchObject({ ids: [], waiting: 3, limit: 'max_requests' });
    await stores.mailbox.release('order', taken.claims[0] as Claim);
    expect((await take('order')).ids).toEqual([ids[3]]);
  });

  it('gives one at a time where the host takes one request', async () => {
    await fill('single', 2);
    expect((await take('single', { max_requests: 1 })).ids).toHaveLength(1);
    expect((await take('single', { max_requests: 1 })).ids).toHaveLength(0);
  });

  it('never exceeds the limit under many takers at once', async () => {
    await fill('many', 50);
    const taken = await Promise.all(Array.from({ length: 30 }, () => take('many')));
    expect(taken.flatMap(({ ids }) => ids)).toHaveLength(3);
  });

  it('gives the job of a dead worker again once its slot has expired', async () => {
    const ids = await fill('dead', 1);
    expect((await take('dead', { leaseMs: 50 })).ids).toEqual(ids);
    expect((await take('dead', { leaseMs: 50 })).ids).toEqual([]);
    const again = await until(async () => {
      const { ids: taken } = await take('dead');
      return taken.length > 0 && taken;
    });
    expect(again).toEqual(ids);
  });

  it('does not give what may not start yet, and says when to look again', async () => {
    await fill('later', 1, { not_before: Date.now() + 60_000 });
    const taken = await take('later');
    expect(taken).toMatchObject({ ids: [], waiting: 1, limit: null });
    expect(taken.lookInMs).toBeGreaterThan(50_000);
  });

  it('gives nothing while the host pauses or is drained', async () => {
    await fill('paused', 1);
    await stores.hosts.pause('paused', 60_000);
    expect(await take('paused')).toMatchObject({ ids: [], limit: 'paused' });
    await stores.redis.hdel(stores.keys.hostHealth('paused'), 'asked_until');
    await stores.hosts.setDraining('paused', true);
    expect(await take('paused')).toMatchObject({ ids: [], limit: 'draining' });
    await stores.hosts.setDraining('paused', false);
    expect((await take('paused')).ids).toHaveLength(1);
  });

  it('gives a host on probation one start at a time, until it is known to be up', async () => {
    await fill('unproven', 3);
    await stores.redis.del(stores.keys.hostHealth('unproven'));
    expect((await take('unproven')).ids).toHaveLength(1);
    expect(await take('unproven')).toMatchObject({ ids: [], limit: 'probation' });
    await stores.hosts.contacted('unproven');
    expect((await take('unproven')).ids).toHaveLength(2);
  });

  it('gives nothing to who has not seen the last change of the host, whose limits may be others', async () => {
    await fill('changed', 1);
    await stores.redis.hset(stores.keys.hostHealth('changed'), 'revision', 3);
    expect(await take('changed', { revision: 2 })).toMatchObject({ ids: [], waiting: 1, revision: 3 });
    expect((await take('changed', { revision: 3 })).ids).toHaveLength(1);
  });

  it('goes on with starts that are unsettled while the host is drained', async () => {
    const [first, second] = await fill('unsettled', 2);
    const claim = await claimOne('unsettled', { max_requests: 1 });
    await started(first as string);
    await stores.hosts.setDraining('unsettled', true);
    await stores.mailbox.giveBack('unsettled', claim, 0);
    expect((await take('unsettled')).ids).toEqual([first]);
    expect((await take('unsettled')).ids).not.toContain(second);
  });

  it('does not bring a start forward that was put off before its process died', async () => {
    await fill('put-off', 1);
    const claim = await claimOne('put-off', { max_requests: 1 });
    await stores.redis.zadd(stores.keys.mailbox('put-off'), Date.now() + 60_000, claim.place);
    await stores.redis.zadd(stores.keys.slots('put-off'), 1, `start:${claim.token}:${claim.place}`);
    expect(await take('put-off')).toMatchObject({ ids: [], waiting: 1 });
  });

  it('disarms the host once nothing waits and nothing is under way', async () => {
    await fill('idle', 1);
    const claim = await claimOne('idle');
    expect(await stores.redis.zscore(stores.keys.armed, 'idle')).not.toBeNull();
    await stores.mailbox.release('idle', claim);
    await take('idle');
    expect(await stores.redis.zscore(stores.keys.armed, 'idle')).toBeNull();
    expect(await stores.redis.exists(stores.keys.turns('idle'), stores.keys.ready('idle'))).toBe(0);
  });
});

describe('the order', () => {
  it('is by priority, then by acceptance', async () => {
    const [low] = await fill('prio', 1, { priority: 1 });
    const usual = await fill('prio', 2);
    const [high] = await fill('prio', 1, { priority: 9 });
    expect(await order('prio', 4)).toEqual([high, ...usual, low]);
  });

  it('lets callers take turns, so that a flood of one does not hold up the single job of another', async () => {
    const flood = await fill('fair', 200, { created_by: 'flood' });
    expect(await order('fair', 2)).toEqual(flood.slice(0, 2));
    const [single] = await fill('fair', 1, { created_by: 'single' });
    expect(await order('fair', 2)).toContain(single);
    const pair = await fill('fair', 2, { created_by: 'single' });
    const next = await order('fair', 4);
    expect(next.filter((id) => pair.includes(id))).toEqual(pair);
  });

  it('starves no priority: every eighth start goes to the one that was served longest ago', async () => {
    await fill('flooded', 30, { priority: 9 });
    const [low] = await fill('flooded', 1, { priority: 0 });
    expect(await order('flooded', 8)).toContain(low);
  });

  it('gives the turns of canceled jobs back to their caller', async () => {
    const mistake = await fill('oops', 100, { created_by: 'alice' });
    await fill('oops', 100, { created_by: 'bob' });
    await take('oops', { max_jobs: 0 });
    const cancel = { signal: 'TERM', grace_seconds: 0, reason: null };
    for (const id of mistake) await stores.cancel(id, cancel, 'alice');
    const [right] = await fill('oops', 1, { created_by: 'alice' });
    expect(await order('oops', 3)).toContain(right);
    const turns = await stores.redis.hkeys(stores.keys.turns('oops'));
    expect(turns.filter((field) => field.startsWith('again:'))).toEqual([]);
  });

  it('puts a job that was given back before the others of its priority', async () => {
    const ids = await fill('again', 20);
    const claim = await claimOne('again', { max_requests: 1 });
    await stores.mailbox.giveBack('again', claim, 0);
    expect(await order('again', 2)).toEqual(ids.slice(0, 2));
  });
});

describe('max_jobs', () => {
  const limits = { max_jobs: 2 };

  it('counts what is being started or under way, and comes back by the state of a job alone', async () => {
    const ids = await fill('etl', 5);
    const { claims } = await take('etl', limits);
    expect(claims.map(({ id }) => id)).toEqual(ids.slice(0, 2));
    const [first, second] = await Promise.all(claims.map(({ id }) => started(id)));
    for (const claim of claims) await stores.mailbox.release('etl', claim);
    expect(await take('etl', limits)).toMatchObject({ ids: [], waiting: 3, limit: 'max_jobs' });
    await stores.jobs.transition(first as Job, 'dispatching', 'running', { why: 'test', next_poll_at: 0 });
    expect(await take('etl', limits)).toMatchObject({ ids: [], limit: 'max_jobs' });
    await stores.jobs.transition(second as Job, 'dispatching', 'failed', { why: 'test' });
    expect((await take('etl', limits)).ids).toEqual([ids[2]]);
  });

  it('has the host looked at as soon as one of its jobs ends', async () => {
    const [first] = await fill('freed', 2);
    const claim = await claimOne('freed', { max_jobs: 1 });
    const job = await started(first as string);
    await stores.mailbox.release('freed', claim);
    const held = await take('freed', { max_jobs: 1 });
    expect(held.lookInMs).toBeGreaterThan(5_000);
    await stores.jobs.transition(job, 'dispatching', 'failed', { why: 'test' });
    expect(await stores.mailbox.overdue(0, 10)).toContain('freed');
  });

  it('leaves room for a start that was given back: it holds its place already', async () => {
    const [first] = await fill('kept', 2);
    const claim = await claimOne('kept', { max_jobs: 1 });
    await started(first as string);
    await stores.mailbox.giveBack('kept', claim, 0);
    expect((await take('kept', { max_jobs: 1 })).ids).toEqual([first]);
  });

  it('holds no rescued start back: it waits for nobody but itself', async () => {
    const [first] = await fill('stuck', 2);
    const claim = await claimOne('stuck', { max_jobs: 1 });
    const job = await started(first as string);
    await stores.mailbox.release('stuck', claim);
    expect(await stores.mailbox.rescue(job)).toBe(true);
    expect((await take('stuck', { max_jobs: 1 })).ids).toEqual([first]);
  });

  it('lifts at once for what is queued when it is raised', async () => {
    await fill('raised', 4);
    expect((await take('raised', { max_jobs: 1 })).ids).toHaveLength(1);
    expect((await take('raised', { max_jobs: 3 })).ids).toHaveLength(2);
  });
});

describe('a claim', () => {
  it('brings the record of its job, or that there is none any more', async () => {
    const [kept, gone] = (await fill('records', 2)) as [string, string];
    await stores.redis.del(stores.keys.job(gone));
    const { claims } = await take('records');
    expect(claims.map((claim) => [claim.id, claim.read()])).toEqual([
      [kept, { ...(await stores.jobs.get(kept)), next_poll_at: null }],
      [gone, null],
    ]);
  });

  it('has its host looked at when its slot lapses, if nothing else waits there', async () => {
    await fill('lapsing', 1);
    await take('lapsing', { leaseMs: 2_000 });
    const { lookInMs } = await take('lapsing', { leaseMs: 60_000 });
    expect(lookInMs).toBeGreaterThan(0);
    expect(lookInMs).toBeLessThanOrEqual(2_000);
  });

  it('is not given by limits that were read before the pin of its host was replaced', async () => {
    await fill('pinned', 1);
    await stores.hosts.pin('pinned', 'ab'.repeat(32), { replace: false });
    const { revision } = await take('pinned', { max_requests: 0 });
    await stores.hosts.pin('pinned', 'cd'.repeat(32), { replace: true });
    const taken = await take('pinned', { revision });
    expect(taken.claims).toEqual([]);
    expect((await take('pinned', { revision: taken.revision })).claims).toHaveLength(1);
  });

  it('tells whether its host is known to answer', async () => {
    await fill('failing', 1);
    expect(await take('failing')).toMatchObject({ isUp: true });
    await stores.hosts.failed('failing', { status: 'unreachable', cause: 'silence', remedy: null });
    expect(await take('failing')).toMatchObject({ isUp: false });
  });
});

describe('rate', () => {
  it('starts that were sent later than they were paid for have the next ones come as much later', async () => {
    await fill('late', 10);
    const rate = { limit: 6, period_seconds: 60, burst: 1 };
    const wait = async (lateMs: number) => {
      const limits = { max_requests: 64, max_jobs: null, rate };
      const options = { leaseMs: 10_000, most: 100, revision: 0, lateMs };
      return (await stores.mailbox.take('late', limits, options)).lookInMs as number;
    };
    const before = await wait(0);
    expect(before).toBeLessThanOrEqual(10_000);
    // Time passes between two takes.
    const after = await wait(8_000);
    expect(after).toBeGreaterThan(before + 2_000);
    expect(after).toBeLessThanOrEqual(before + 8_000);
    await stores.mailbox.owe('late', 8_000);
    expect(await wait(0)).toBeGreaterThan(after + 2_000);
  });

  it('is paid by each start until its turn would have come at the even pace', async () => {
    await fill('paid', 4);
    const rate = { limit: 60, period_seconds: 60, burst: 3 };
    const { claims } = await take('paid', { max_requests: 64, rate });
    expect(claims.map(({ paidForMs }) => paidForMs)).toEqual([0, 1_000, 2_000]);
  });

  it('gives as many starts as the bucket has tokens, and says when the next one comes', async () => {
    await fill('slow', 10);
    const rate = { limit: 60, period_seconds: 60, burst: 2 };
    const taken = await take('slow', { max_requests: 64, rate });
    expect(taken).toMatchObject({ waiting: 8, limit: 'rate' });
    expect(taken.ids).toHaveLength(2);
    expect(taken.lookInMs).toBeGreaterThan(500);
    expect(taken.lookInMs).toBeLessThanOrEqual(1_000);
  });
});

describe('giving back', () => {
  it('is for the holder of the slot only: an expired slot has given the job back already', async () => {
    const [id] = await fill('back', 1);
    const claim = await claimOne('back');
    await stores.mailbox.giveBack('back', claim, 0);
    await stores.mailbox.giveBack('back', claim, 60_000);
    expect((await take('back')).ids).toEqual([id]);
    // The first holder's late release must not free the slot of the second.
    await stores.mailbox.release('back', claim);
    expect(await stores.redis.zcard(stores.keys.slots('back'))).toBe(1);
  });
});

it('a canceled job leaves the queue, whether it is lined up or waits for its time', async () => {
  const [lined] = await fill('left', 2);
  const [later] = await fill('left', 1, { not_before: Date.now() + 60_000 });
  await take('left', { max_jobs: 0 });
  const order = { signal: 'TERM', grace_seconds: 0, reason: null };
  for (const id of [lined, later]) await stores.cancel(id as string, order, 'test');
  expect(await take('left', { max_jobs: 0 })).toMatchObject({ waiting: 1 });
});

it('a question that found the only slot taken by a start has the next turn, before the queue of starts', async () => {
  await fill('turns', 3);
  const single = { max_requests: 1 };
  const first = await claimOne('turns', single);
  const question = { max: 1, leaseMs: 10_000 };
  expect(await stores.slots.takeIfFree('turns', 'q', question)).toBe(false);
  await stores.mailbox.release('turns', first);
  expect((await take('turns', single)).ids).toEqual([]);
  expect(await stores.slots.takeIfFree('turns', 'q', question)).toBe(true);
  await stores.slots.release('turns', 'q');
  expect((await take('turns', single)).ids).toHaveLength(1);
});

it('rescue brings back only what is in nobody’s hands', async () => {
  const [id] = await fill('stranded', 1);
  const job = (await stores.jobs.get(id as string)) as Job;
  expect(await stores.mailbox.rescue(job)).toBe(false);
  await take('stranded', { max_jobs: 0 });
  expect(await stores.mailbox.rescue(job)).toBe(false);
  const claim = await claimOne('stranded');
  expect(await stores.mailbox.rescue(job)).toBe(false);
  await stores.mailbox.release('stranded', claim);
  expect(await stores.mailbox.rescue(job)).toBe(true);
  expect((await take('stranded')).ids).toEqual([id]);
});

it('slots for questions count with those of starts, and come back when they expire', async () => {
  await fill('shared', 5);
  expect((await take('shared')).ids).toHaveLength(3);
  const options = { max: 4, leaseMs: 80 };
  expect(await stores.slots.takeIfFree('shared', 'q1', options)).toBe(true);
  expect(await stores.slots.takeIfFree('shared', 'q2', options)).toBe(false);
  await until(() => stores.slots.takeIfFree('shared', 'q2', options));
});

it('a start whose process died keeps no question waiting: on a host that is down it is the ping that lets starts go on', async () => {
  await fill('died', 2);
  const dead = await take('died', { max_requests: 1, leaseMs: 1 });
  expect(dead.ids).toHaveLength(1);
  await stores.hosts.failed('died', { status: 'unreachable', cause: 'test', remedy: null });
  const question = { max: 4, leaseMs: 10_000 };
  await until(() => stores.slots.takeIfFree('died', 'ping', question), { timeoutMs: 2_000 });
  expect(await stores.slots.takeIfFree('died', 'another', question)).toBe(false);
  await stores.slots.release('died', 'ping');
  await stores.hosts.contacted('died');
  // Its job comes back with the next take, all the same.
  await until(async () => (await take('died')).ids.includes(dead.ids[0] as string));
});

it('a lease has one owner, who can renew and release it', async () => {
  const { leases } = stores;
  expect(await leases.claim('poll:x', 'a', 60_000)).toBe(true);
  expect(await leases.claim('poll:x', 'b', 60_000)).toBe(false);
  expect(await leases.claim('poll:x', 'a', 60_000)).toBe(true);
  await leases.releaseIfHeldBy('poll:x', 'b');
  expect(await leases.isClaimed('poll:x')).toBe(true);
  await leases.releaseIfHeldBy('poll:x', 'a');
  expect(await leases.claim('poll:x', 'b', 60_000)).toBe(true);
});
