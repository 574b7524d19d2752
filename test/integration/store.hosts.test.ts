/** Hosts on a real Redis: registration, resolution, and what is learnt of them. */
import { randomBytes } from 'node:crypto';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { Job } from '../../src/job/record.ts';
import { createHostStore } from '../../src/store/hosts.ts';
import { startRedis, type TestRedis } from '../helpers/redis.ts';
import { newJob, openStores, type Stores } from '../helpers/stores.ts';
import { until } from '../helpers/until.ts';

let redis: TestRedis;
let stores: Stores;
const fingerprint = randomBytes(32).toString('hex');

beforeAll(async () => {
  redis = await startRedis();
  stores = await openStores(redis.url);
});
afterAll(async () => {
  await stores?.close();
  await redis?.stop();
});

describe('put', () => {
  it('keeps what a patch leaves out, and null takes it back to its default', async () => {
    await stores.hosts.put('p1', {
      address: '10.0.0.1:18443',
      token: 't',
      max_requests: 9,
      labels: { a: 'b' },
    });
    const { host } = await stores.hosts.put('p1', { max_requests: null });
    expect(host).toMatchObject({ address: '10.0.0.1:18443', max_requests: 4, labels: { a: 'b' } });
    expect(stores.hosts.openToken(host)).toBe('t');
  });

  it('needs the token again for another address or a looser certificate check', async () => {
    await stores.hosts.put('p2', { address: '10.0.0.2:18443', token: 't', tls: { fingerprint } });
    for (const patch of [{ address: '10.6.6.6:1' }, { tls: { insecure: true } }, { tls: null }] as const) {
      await expect(stores.hosts.put('p2', patch)).rejects.toMatchObject({ code: 'token_required' });
    }
    expect(await stores.hosts.get('p2')).toMatchObject({ address: '10.0.0.2:18443', tls: { fingerprint } });
    await stores.hosts.put('p2', { address: '10.0.0.22:18443', token: 't2' });
  });

  it('refuses an address that another host has, also when both come at once', async () => {
    const both = await Promise.allSettled(
      ['r1', 'r2'].map((name) => stores.hosts.put(name, { address: '10.0.0.3:18443', token: 't' })),
    );
    expect(both.map(({ status }) => status).sort()).toEqual(['fulfilled', 'rejected']);
    expect(both.find((one) => one.status === 'rejected')).toMatchObject({
      reason: { code: 'address_in_use' },
    });
  });

  it('keeps the token out of Redis', async () => {
    const token = randomBytes(24).toString('hex');
    await stores.hosts.put('p3', { address: '10.0.0.4:18443', token });
    expect(await stores.redis.get(stores.keys.host('p3'))).not.toContain(token);
  });

  it('forgets a pinned certificate with the address that showed it', async () => {
    await stores.hosts.put('p4', { address: '10.0.0.5:18443', token: 't' });
    await stores.hosts.pin('p4', fingerprint, { replace: false });
    await stores.hosts.put('p4', { address: '10.0.0.55:18443', token: 't' });
    expect((await stores.hosts.health('p4')).pinned_fingerprint).toBeNull();
  });
});

describe('resolve', () => {
  it('finds a host by name, then by address, then by a pattern, and nothing else', async () => {
    const hosts = createHostStore({
      redis: stores.redis,
      keys: stores.keys,
      sealer: stores.sealer,
      patterns: [{ match: '192.168.120.0/24:18443', token: 'pattern', max_requests: 2 }],
    });
    await hosts.put('db1', { address: '192.168.120.7:18443', token: 't' });
    expect(await hosts.resolve('db1')).toMatchObject({ name: 'db1', registered: true });
    expect(await hosts.resolve('192.168.120.7:18443')).toMatchObject({ name: 'db1' });
    const admitted = await hosts.resolve('192.168.120.8:18443');
    expect(admitted).toMatchObject({ name: '192.168.120.8:18443', registered: false, max_requests: 2 });
    expect(admitted && hosts.openToken(admitted)).toBe('pattern');
    for (const stranger of [
      '192.168.121.8:18443',
      '192.168.120.8:22',
      'db2',
      '[::ffff:192.168.120.8]:18443',
    ]) {
      expect(await hosts.resolve(stranger)).toBeNull();
    }
  });
});

describe('health', () => {
  it('counts requests that fail together once, but what is wrong with the host anew', async () => {
    const failure = { status: 'unreachable', cause: 'reset', remedy: null, tookMs: 2_000 } as const;
    await Promise.all(Array.from({ length: 4 }, () => stores.hosts.failed('blip', failure)));
    expect(await stores.hosts.health('blip')).toMatchObject({
      status: 'suspect',
      failures: 1,
      silent_asks: 1,
    });
    await stores.hosts.failed('blip', { status: 'misconfigured', cause: 'token refused', remedy: 'set it' });
    expect(await stores.hosts.health('blip')).toMatchObject({ status: 'misconfigured', failures: 2 });
  });

  it('never cuts a pause short that the agent asked for', async () => {
    await stores.hosts.pause('paused', 300_000);
    await stores.hosts.pause('paused', 1_000);
    await stores.hosts.failed('paused', { status: 'unreachable', cause: 'reset', remedy: null });
    const leftMs = async () => {
      const { retry_at, seen_at } = await stores.hosts.health('paused');
      return (retry_at ?? 0) - seen_at;
    };
    expect(await leftMs()).toBeGreaterThan(290_000);
    await stores.hosts.contacted('paused');
    expect(await leftMs()).toBeGreaterThan(290_000);
  });

  it('is tried at once when it may answer otherwise from now on, and not when only its limits change', async () => {
    await stores.hosts.put('mended', { address: '10.0.0.90:18443', token: 't' });
    await stores.hosts.pause('mended', 60_000);
    const failure = { status: 'misconfigured', cause: 'token refused', remedy: 'set it' } as const;
    await stores.hosts.failed('mended', failure);
    await stores.hosts.put('mended', { max_requests: 2 });
    expect((await stores.hosts.health('mended')).retry_at).not.toBeNull();
    const { revision } = await stores.hosts.health('mended');
    await stores.hosts.put('mended', { address: '10.0.0.90:18443', token: 't', max_requests: 2 });
    expect(await stores.hosts.health('mended')).toMatchObject({ revision, retry_at: expect.any(Number) });
    await stores.hosts.put('mended', { token: 't2' });
    expect((await stores.hosts.health('mended')).retry_at).toBeNull();
  });

  it('keeps a pause of starts apart from that of the whole host, until it may answer otherwise', async () => {
    await stores.hosts.put('full', { address: '10.0.0.91:18443', token: 't' });
    await stores.hosts.contacted('full');
    await stores.hosts.pauseStarts('full', 60_000, 'the disk is full');
    const health = await stores.hosts.health('full');
    expect(health).toMatchObject({ retry_at: null, no_starts_why: 'the disk is full' });
    expect((health.no_starts_until ?? 0) - health.seen_at).toBeGreaterThan(50_000);
    await stores.hosts.put('full', { token: 't2' });
    expect((await stores.hosts.health('full')).no_starts_until).toBeNull();
  });

  it('goes from suspect to down with failures in a row, and back with one answer', async () => {
    const failure = { status: 'unreachable', cause: 'no answer', remedy: null } as const;
    await stores.hosts.failed('h1', failure);
    expect(await stores.hosts.health('h1')).toMatchObject({ status: 'suspect', failures: 1, silent_asks: 1 });
    await stores.hosts.failed('h1', failure);
    await stores.hosts.failed('h1', failure);
    expect(await stores.hosts.health('h1')).toMatchObject({ status: 'down', cause: 'no answer' });
    expect(await stores.hosts.contacted('h1')).toBe(true);
    expect(await stores.hosts.contacted('h1')).toBe(false);
    expect(await stores.hosts.health('h1')).toMatchObject({
      status: 'up',
      failures: 0,
      silent_ms: 0,
      retry_at: null,
    });
  });

  it('does not count the time in which nobody asked as silence', async () => {
    const failure = { status: 'unreachable', cause: 'no answer', remedy: null } as const;
    await stores.hosts.failed('h2', failure);
    // As after a weekend in which the gateway was off.
    await stores.redis.hset(stores.keys.hostHealth('h2'), 'last_failed_at', Date.now() - 2 * 86_400_000);
    await stores.hosts.failed('h2', failure);
    expect((await stores.hosts.health('h2')).silent_ms).toBeLessThanOrEqual(120_000);
  });

  it('counts no silence of a host that answers and refuses', async () => {
    await stores.hosts.failed('h4', { status: 'misconfigured', cause: 'token refused', remedy: 'set it' });
    await stores.hosts.failed('h4', { status: 'misconfigured', cause: 'token refused', remedy: 'set it' });
    expect(await stores.hosts.health('h4')).toMatchObject({
      status: 'misconfigured',
      silent_asks: 0,
      silent_ms: 0,
    });
  });

  it('pins the first certificate, and another one only on request', async () => {
    await stores.hosts.pin('h3', 'a', { replace: false });
    await stores.hosts.pin('h3', 'b', { replace: false });
    expect((await stores.hosts.health('h3')).pinned_fingerprint).toBe('a');
    await stores.hosts.pin('h3', 'b', { replace: true });
    expect((await stores.hosts.health('h3')).pinned_fingerprint).toBe('b');
  });
});

it('a host with a job that is not over cannot be removed', async () => {
  await stores.hosts.put('gone', { address: '10.0.0.9:18443', token: 't' });
  const job = newJob({ host: 'gone', command: 'true' });
  await stores.jobs.accept(job);
  await expect(stores.hosts.remove('gone')).rejects.toMatchObject({ code: 'host_has_active_jobs' });
  await stores.cancel(job.id, { signal: 'TERM', grace_seconds: 1, reason: null }, 'test');
  expect(await stores.hosts.remove('gone')).toBe(true);
  expect(await stores.hosts.resolve('10.0.0.9:18443')).toBeNull();
});

it('a host whose jobs are all lost can be removed, and so can one whose questions died with a process', async () => {
  const { jobs, hosts, slots } = stores;
  await hosts.put('dead', { address: '10.0.0.99:18443', token: 't' });
  const job = await stores.submit(newJob({ host: 'dead', command: 'true' }));
  const starting = await jobs.transition(job, 'queued', 'dispatching', { why: 'starting', attempt: 1 });
  const running = await jobs.transition(starting as Job, 'dispatching', 'running', {
    why: 'ran',
    next_poll_at: 1,
  });
  await expect(hosts.remove('dead')).rejects.toMatchObject({ code: 'host_has_active_jobs' });
  await jobs.transition(running as Job, 'running', 'lost', { why: 'silent', next_poll_at: 1 });
  await slots.takeIfFree('dead', 'a process that died', { max: 4, leaseMs: 1 });
  expect(await until(() => hosts.remove('dead'))).toBe(true);
  expect(await stores.followed.of('dead')).toEqual([]);
});
