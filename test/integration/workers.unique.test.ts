/** One job of a unique key at a time, with workers and real agents: nothing starts before the old one is proven gone. */
import { readFile, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import type { Change } from '../../src/job/move.ts';
import { outcome } from '../../src/job/outcome.ts';
import type { Job } from '../../src/job/record.ts';
import type { Workers } from '../../src/workers/main.ts';
import { isAlive } from '../helpers/alive.ts';
import { type BaseAgent, startBaseAgent } from '../helpers/base-agent.ts';
import { type RealAgent, startRealAgent } from '../helpers/real-agent.ts';
import { startRedis, type TestRedis } from '../helpers/redis.ts';
import { newJob, openStores, type Stores } from '../helpers/stores.ts';
import { until } from '../helpers/until.ts';
import { endOf, startTestWorkers, stateOf } from '../helpers/workers.ts';

let redis: TestRedis;
let full: RealAgent;
let base: BaseAgent;
let stores: Stores;
let workers: Workers;

beforeAll(async () => {
  [redis, full, base] = await Promise.all([
    startRedis(),
    startRealAgent(),
    startBaseAgent({ generation: 'B', rate: null }),
  ]);
  stores = await openStores(redis.url);
  const { address, token, fingerprint } = base;
  await stores.hosts.put('full', {
    address: full.address,
    token: full.token,
    tls: { fingerprint: full.fingerprint },
  });
  await stores.hosts.put('launcher', { address, token, tls: { fingerprint } });
  workers = await startTestWorkers(redis.url, stores);
});
afterEach(async () => {
  await rm(log(), { force: true });
});
afterAll(async () => {
  await workers?.close();
  await stores?.close();
  await base?.close();
  await full?.stop();
  await redis?.stop();
});

const log = () => join(base.home, 'pids');
const noted = async () => (await readFile(log(), 'utf8').catch(() => '')).trim().split('\n').filter(Boolean);
/** Notes its process, and whether one of those before it is alive; takes its time to end when it is asked to. */
const stubborn = () =>
  `for p in $(cut -d' ' -f1 ${log()} 2>/dev/null); do kill -0 $p 2>/dev/null && echo "$$ beside $p" >> ${log()}; done; ` +
  `trap 'sleep 1; exit 0' TERM; echo $$ >> ${log()}; while :; do sleep 0.1; done`;
const keyed = (host: string, fields: Partial<Job> = {}) =>
  newJob({ host, command: stubborn(), unique_key: `key-${host}`, ...fields });

/** Accepts it in place of who holds the key; `dies`: as an API that is killed right after that. */
async function replace(job: Job, dies = false): Promise<Job> {
  const result = await stores.jobs.accept(job, undefined, { onDuplicate: 'replace' });
  if (result.kind !== 'accepted') throw new Error(result.kind);
  if (result.wake) await stores.wake.dispatch(job.host);
  if (dies || result.replaces === null) return result.job;
  for (const id of [result.replaces, result.job.id]) await stores.succeed(id);
  return result.job;
}
async function end(id: string): Promise<void> {
  await stores.cancel(id, { signal: 'KILL', grace_seconds: 0, reason: null }, 'test');
  await endOf(stores, id);
}

describe.each(['full', 'launcher'])('a replacement on a host of kind %s', (host) => {
  it('starts once the old one is gone, and not a moment before', async () => {
    const first = await replace(keyed(host));
    await stateOf(stores, first.id, 'running');
    await until(async () => (await noted()).length === 1);
    const second = await replace(keyed(host));
    await stateOf(stores, second.id, 'running');
    const pids = await until(async () => {
      const lines = await noted();
      return lines.length === 2 && lines;
    });
    expect(pids.join()).not.toContain('beside');
    expect(isAlive(Number(pids[0]))).toBe(false);
    const old = (await stores.jobs.get(first.id)) as Job;
    expect(old).toMatchObject({ canceled_by: 'test' });
    const started = (await stores.jobs.get(second.id))?.dispatched_at as number;
    expect(started).toBeGreaterThanOrEqual((await stores.jobs.events(first.id)).at(-1)?.at as number);
    await end(second.id);
  });

  it('is brought to its start by the sweep where the API died right after its acceptance', async () => {
    const first = await replace(keyed(host));
    await stateOf(stores, first.id, 'running');
    const second = await replace(keyed(host), true);
    await stateOf(stores, second.id, 'running');
    expect(await endOf(stores, first.id)).toMatchObject({ cancel_requested_at: expect.any(Number) });
    await end(second.id);
  });

  it('takes over from a job that was lost in silence once its host says what became of it', async () => {
    const first = await replace(keyed(host, { command: 'sleep 3' }));
    await stateOf(stores, first.id, 'running');
    const silent: Change = {
      outcome: outcome('silent'),
      lost_at: Date.now(),
      next_poll_at: Date.now(),
      why: 'test',
    };
    await until(async () => {
      const job = (await stores.jobs.get(first.id)) as Job;
      return stores.jobs.transition(job, ['running', 'unreachable'], 'lost', silent);
    });
    const second = await replace(keyed(host, { command: 'true' }));
    expect(await endOf(stores, second.id)).toMatchObject({ state: 'succeeded' });
    expect(await stores.jobs.get(first.id)).toMatchObject({ recovered_at: expect.any(Number) });
  });
});

it('the cancel of a job whose host is away is owed, and its replacement on another host waits for it', async () => {
  const unique_key = 'key-of-two-hosts';
  const first = await replace(keyed('full', { unique_key }));
  await stateOf(stores, first.id, 'running');
  const pid = Number((await until(async () => (await noted()).length === 1 && noted()))[0]);
  await full.kill('SIGKILL');
  let second: Job;
  try {
    second = await replace(keyed('launcher', { unique_key, command: 'true' }));
    expect((await stores.jobs.get(first.id))?.state).toBe('canceling');
    // The host of the new one is free for others meanwhile, and takes this one not.
    const other = await replace(keyed('launcher', { unique_key: 'another', command: 'true' }));
    expect(await endOf(stores, other.id)).toMatchObject({ state: 'succeeded' });
    expect(await stores.jobs.get(second.id)).toMatchObject({ state: 'queued', attempt: 0 });
    expect(isAlive(pid)).toBe(true);
  } finally {
    await full.restart();
  }
  expect(await endOf(stores, second.id, 60_000)).toMatchObject({ state: 'succeeded' });
  expect(isAlive(pid)).toBe(false);
});

it('a cancel that cannot be proven frees no key, before the record is gone', async () => {
  const { address, token, fingerprint } = base;
  await stores.hosts.remove('launcher');
  await stores.hosts.put('plain', { address, token, tls: { fingerprint }, launcher: false });
  const first = await replace(keyed('plain', { command: 'sleep 20' }));
  await stateOf(stores, first.id, 'running');
  const second = await replace(keyed('full', { unique_key: 'key-plain', command: 'true' }));
  const canceled = await endOf(stores, first.id);
  expect(canceled).toMatchObject({ state: 'canceled', outcome: { proof: 'none' } });
  expect(await stores.lines.read(second)).toEqual({ holder: first.id, next: second.id });
  const { wake } = stores;
  await wake.dispatch('full');
  const other = await replace(keyed('full', { unique_key: 'another', command: 'true' }));
  expect(await endOf(stores, other.id)).toMatchObject({ state: 'succeeded' });
  expect(await stores.jobs.get(second.id)).toMatchObject({ state: 'queued', attempt: 0 });
  expect(await stores.jobs.remove(canceled)).toBe(true);
  expect(await endOf(stores, second.id)).toMatchObject({ state: 'succeeded' });
});
