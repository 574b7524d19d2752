/** A host's budget on a real Redis: never more than its rate, and nobody is crowded out. */
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { HostRate } from '../../src/job/host.ts';
import { type Budget, createBudget, type RequestClass } from '../../src/store/budget.ts';
import { startRedis, type TestRedis } from '../helpers/redis.ts';
import { openStores, type Stores } from '../helpers/stores.ts';

let redis: TestRedis;
let stores: Stores;
let budget: Budget;

beforeAll(async () => {
  redis = await startRedis();
  stores = await openStores(redis.url);
  budget = createBudget(stores);
});
afterAll(async () => {
  await stores?.close();
  await redis?.stop();
});

const pay = (host: string, rate: HostRate, what: RequestClass, patienceMs = 60_000) =>
  budget.pay(host, rate, { for: what, patienceMs });

/** Requests of one class, one after another, until `stop`; the times at which each was let through. */
async function keepPaying(host: string, rate: HostRate, what: RequestClass, stop: AbortSignal) {
  const times: number[] = [];
  while (!stop.aborted) {
    await pay(host, rate, what);
    times.push(performance.now());
  }
  return times;
}

describe('a bucket', () => {
  it('lets its burst through at once, then says when to come again', async () => {
    const rate = { limit: 10, period_seconds: 10, burst: 3 };
    expect(await budget.tokens('burst', rate)).toBe(3);
    for (let i = 0; i < 3; i++) await pay('burst', rate, 'start', 0);
    expect(await budget.tokens('burst', rate)).toBe(0);
    await expect(pay('burst', rate, 'start', 0)).rejects.toMatchObject({
      code: 'host_busy',
      fields: { retry_after: 1 },
    });
  });

  it('of burst 1 lets no two requests through at once, whoever asks', async () => {
    const rate = { limit: 50, period_seconds: 1, burst: 1 };
    const times = await Promise.all(
      Array.from({ length: 20 }, async (_, i) => {
        await pay('strict', rate, i % 2 ? 'start' : 'read');
        const [seconds, micros] = await stores.redis.time();
        return Number(seconds) * 1_000 + Number(micros) / 1_000;
      }),
    );
    const [first = 0, ...rest] = times.sort((a, b) => a - b);
    expect((rest.at(-1) ?? 0) - first).toBeGreaterThan(18 * 20);
  });

  it('never lets more than limit + burst through in a period', async () => {
    const rate = { limit: 20, period_seconds: 1, burst: 5 };
    const stop = AbortSignal.timeout(2_500);
    const everybody = await Promise.all(
      (['start', 'start', 'follow', 'read'] as const).map((what) => keepPaying('period', rate, what, stop)),
    );
    const times = everybody.flat().sort((a, b) => a - b);
    expect(times.length).toBeGreaterThan(40);
    // What is late by the test's own machine may come a little closer together than it was let through.
    const most = Math.max(...times.map((from) => times.filter((t) => t >= from && t < from + 950).length));
    expect(most).toBeLessThanOrEqual(25);
  });

  it('costs nothing where the host has no rate', async () => {
    await budget.pay('none', null, { for: 'read', patienceMs: 0 });
    expect(await budget.tokens('none', null)).toBeNull();
    expect(await stores.redis.exists(stores.keys.hostBudget('none'))).toBe(0);
  });

  it('owes nothing for hours that come again because a clock was set back', async () => {
    const rate = { limit: 10, period_seconds: 10, burst: 2 };
    await pay('clock', rate, 'start', 0);
    const key = stores.keys.hostBudget('clock');
    const { tat, at } = await stores.redis.hgetall(key);
    const later = (time?: string) => Number(time) + 3_600_000;
    await stores.redis.hset(key, { tat: later(tat), at: later(at), follow_waits: later(at) });
    expect(await budget.tokens('clock', rate)).toBe(1);
    await pay('clock', rate, 'start', 0);
    await expect(pay('clock', rate, 'start', 0)).rejects.toMatchObject({ code: 'host_busy' });
  });

  it('takes a changed rate at once', async () => {
    const strict = { limit: 1, period_seconds: 60, burst: 1 };
    await pay('changed', strict, 'start', 0);
    await expect(pay('changed', strict, 'start', 0)).rejects.toMatchObject({ code: 'host_busy' });
    await pay('changed', { limit: 6_000, period_seconds: 60, burst: 6_001 }, 'start', 0);
  });
});

describe('what is owed', () => {
  it('is kept until it is paid back, though the rate became another one within the hour', async () => {
    await pay('owing', { limit: 100, period_seconds: 60, burst: 1 }, 'start');
    const rate = { limit: 48, period_seconds: 86_400, burst: 200 };
    for (let i = 0; i < 150; i++) await pay('owing', rate, 'start', 0);
    const key = stores.keys.hostBudget('owing');
    const [tat, at] = (await stores.redis.hmget(key, 'tat', 'at')).map(Number) as [number, number];
    expect(await stores.redis.pttl(key)).toBeGreaterThan(tat - at);
  });

  it('is kept for a day beyond that where it is paid back soon', async () => {
    await pay('soon', { limit: 100, period_seconds: 60, burst: 1 }, 'start');
    await pay('soon', { limit: 100, period_seconds: 60, burst: 1 }, 'start');
    expect(await stores.redis.ttl(stores.keys.hostBudget('soon'))).toBeGreaterThan(86_300);
  });
});

describe('sharing', () => {
  it('is 3 : 2 : 1 among starts, questions and reads while all want something', async () => {
    const rate = { limit: 120, period_seconds: 1, burst: 1 };
    const stop = AbortSignal.timeout(3_000);
    const [starts, questions, reads] = await Promise.all([
      keepPaying('shares', rate, 'start', stop),
      keepPaying('shares', rate, 'follow', stop),
      keepPaying('shares', rate, 'read', stop),
    ]);
    const total = starts.length + questions.length + reads.length;
    expect(starts.length / total).toBeCloseTo(1 / 2, 1);
    expect(questions.length / total).toBeCloseTo(1 / 3, 1);
    expect(reads.length / total).toBeCloseTo(1 / 6, 1);
  });

  it('leaves to the others what a class does not want', async () => {
    const rate = { limit: 100, period_seconds: 1, burst: 1 };
    const reads = await keepPaying('alone', rate, 'read', AbortSignal.timeout(1_000));
    // Its share beside others would be 16; a busy machine comes late for some of the tokens.
    expect(reads.length).toBeGreaterThan(30);
  });

  it('gives a class that comes late its part at once, and no more for having been away', async () => {
    const rate = { limit: 100, period_seconds: 1, burst: 1 };
    const stop = new AbortController();
    const starts = keepPaying('late', rate, 'start', stop.signal);
    await pay('late', rate, 'start');
    const began = performance.now();
    for (let i = 0; i < 20; i++) await pay('late', rate, 'follow');
    const took = performance.now() - began;
    stop.abort();
    await starts;
    // Two parts of five: 20 questions take 0.5 s beside starts; alone they would take 0.2 s.
    expect(took).toBeGreaterThan(300);
    expect(took).toBeLessThan(5_000);
  });
});
