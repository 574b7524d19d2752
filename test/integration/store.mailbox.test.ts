/** Mailboxes, slots and leases on a real Redis: limits hold, and what a dead process held comes back. */
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
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

async function fill(host: string, count: number, fields: { not_before?: number } = {}): Promise<string[]> {
  const ids: string[] = [];
  for (let i = 0; i < count; i++) {
    const job = newJob({ host, command: 'true', ...fields });
    await stores.jobs.accept(job);
    ids.push(job.id);
  }
  return ids;
}
const take = (host: string, leaseMs = 10_000, maxRequests = 4) =>
  stores.mailbox.take(host, { maxRequests, leaseMs, most: 10 });

describe('take', () => {
  it('gives jobs in order and leaves one slot for questions', async () => {
    const ids = await fill('order', 6);
    const taken = await take('order');
    expect(taken.ids).toEqual(ids.slice(0, 3));
    expect(await take('order')).toMatchObject({ ids: [], waiting: 3 });
    await stores.mailbox.release('order', ids[0] as string, taken.token);
    expect((await take('order')).ids).toEqual([ids[3]]);
  });

  it('gives one at a time where the host takes one request', async () => {
    await fill('single', 2);
    expect((await take('single', 10_000, 1)).ids).toHaveLength(1);
    expect((await take('single', 10_000, 1)).ids).toHaveLength(0);
  });

  it('never exceeds the limit under many takers at once', async () => {
    await fill('many', 50);
    const taken = await Promise.all(Array.from({ length: 30 }, () => take('many')));
    expect(taken.flatMap(({ ids }) => ids)).toHaveLength(3);
  });

  it('gives the job of a dead worker again once its slot has expired', async () => {
    const ids = await fill('dead', 1);
    expect((await take('dead', 50)).ids).toEqual(ids);
    expect((await take('dead', 50)).ids).toEqual([]);
    const again = await until(async () => {
      const { ids: taken } = await take('dead', 10_000);
      return taken.length > 0 && taken;
    });
    expect(again).toEqual(ids);
  });

  it('does not give what may not start yet, and says when to look again', async () => {
    await fill('later', 1, { not_before: Date.now() + 60_000 });
    const taken = await take('later');
    expect(taken).toMatchObject({ ids: [], waiting: 1 });
    expect(taken.lookInMs).toBeGreaterThan(50_000);
  });

  it('gives nothing while the host pauses or is drained', async () => {
    await fill('paused', 1);
    await stores.hosts.pause('paused', 60_000);
    expect((await take('paused')).ids).toEqual([]);
    await stores.hosts.pause('paused', -1);
    await stores.hosts.setDraining('paused', true);
    expect((await take('paused')).ids).toEqual([]);
    await stores.hosts.setDraining('paused', false);
    expect((await take('paused')).ids).toHaveLength(1);
  });

  it('disarms the host once nothing waits and nothing is under way', async () => {
    const [id] = await fill('idle', 1);
    const { token } = await take('idle');
    expect(await stores.redis.zscore(stores.keys.armed, 'idle')).not.toBeNull();
    await stores.mailbox.release('idle', id as string, token);
    await take('idle');
    expect(await stores.redis.zscore(stores.keys.armed, 'idle')).toBeNull();
  });
});

describe('giving back', () => {
  it('is for the holder of the slot only: an expired slot has given the job back already', async () => {
    const [id] = await fill('back', 1);
    const { token } = await take('back');
    await stores.mailbox.giveBack('back', id as string, token, 0);
    await stores.mailbox.giveBack('back', id as string, token, 60_000);
    expect((await take('back')).ids).toEqual([id]);
    // The first holder's late release must not free the slot of the second.
    await stores.mailbox.release('back', id as string, token);
    expect(await stores.redis.zcard(stores.keys.slots('back'))).toBe(1);
  });
});

it('a question that found the only slot taken by a start has the next turn, before the queue of starts', async () => {
  await fill('turns', 3);
  const first = await take('turns', 10_000, 1);
  const question = { max: 1, leaseMs: 10_000 };
  expect(await stores.slots.takeIfFree('turns', 'q', question)).toBe(false);
  await stores.mailbox.release('turns', first.ids[0] as string, first.token);
  expect((await take('turns', 10_000, 1)).ids).toEqual([]);
  expect(await stores.slots.takeIfFree('turns', 'q', question)).toBe(true);
  await stores.slots.release('turns', 'q');
  expect((await take('turns', 10_000, 1)).ids).toHaveLength(1);
});

it('rescue brings back only what is in nobody’s hands', async () => {
  const [id] = await fill('stranded', 1);
  expect(await stores.mailbox.rescue('stranded', id as string)).toBe(false);
  const { token } = await take('stranded');
  expect(await stores.mailbox.rescue('stranded', id as string)).toBe(false);
  await stores.mailbox.release('stranded', id as string, token);
  expect(await stores.mailbox.rescue('stranded', id as string)).toBe(true);
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
