/** The workers with a real Redis and the shipped agent: jobs from the mailbox to their true end. */
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { Job } from '../../src/job/record.ts';
import type { Workers } from '../../src/workers/main.ts';
import { type RealAgent, startRealAgent } from '../helpers/real-agent.ts';
import { startRedis, type TestRedis } from '../helpers/redis.ts';
import { newJob, openStores, type Stores } from '../helpers/stores.ts';
import { until } from '../helpers/until.ts';
import { endOf, runToEnd, startTestWorkers, stateOf } from '../helpers/workers.ts';

let redis: TestRedis;
let agent: RealAgent;
let stores: Stores;
let workers: Workers;

beforeAll(async () => {
  [redis, agent] = await Promise.all([startRedis(), startRealAgent()]);
  stores = await openStores(redis.url);
  await stores.hosts.put('web1', {
    address: agent.address,
    token: agent.token,
    tls: { fingerprint: agent.fingerprint },
  });
  workers = await startTestWorkers(redis.url, stores);
});

afterAll(async () => {
  await workers?.close();
  await stores?.close();
  await agent?.stop();
  await redis?.stop();
});

const run = (fields: Partial<Job> & { command: string }) => runToEnd(stores, { host: 'web1', ...fields });

describe('a job on a Full agent', () => {
  it('that is short ends with its code and its output', async () => {
    const job = await run({ command: 'echo out; echo err >&2; exit 3' });
    expect(job).toMatchObject({ state: 'failed', outcome: { kind: 'exit', return_code: 3 }, attempt: 1 });
    const tails = await stores.jobs.tails(job.id);
    expect(tails?.stdout.toString()).toBe('out\n');
    expect(tails?.stderr.toString()).toBe('err\n');
  });

  it('that outlasts the held start is followed to its end by a held request', async () => {
    const job = await run({ command: 'sleep 3; echo done' });
    expect(job).toMatchObject({ state: 'succeeded', started_by: 'full' });
    const late = (await stores.jobs.events(job.id)).at(-1)?.at as number;
    expect(late - (job.ended_at as number)).toBeLessThan(10_000);
    const states = (await stores.jobs.events(job.id)).map(({ state }) => state);
    expect(states).toEqual(['queued', 'dispatching', 'running', 'succeeded']);
  });

  it('is canceled with its process tree', async () => {
    const { id } = await stores.submit(newJob({ host: 'web1', command: 'sleep 300 & sleep 300' }));
    await stateOf(stores, id, 'running');
    await stores.cancel(id, { signal: 'TERM', grace_seconds: 2, reason: null }, 'test');
    const job = await endOf(stores, id);
    expect(job).toMatchObject({ state: 'canceled', outcome: { kind: 'canceled' }, canceled_by: 'test' });
  });

  it('waits for its not_before', async () => {
    const not_before = Date.now() + 700;
    const job = await run({ command: 'true', not_before });
    expect(job.dispatched_at).toBeGreaterThanOrEqual(not_before);
  });

  it('waits on a drained host while a running one goes on, and starts when the host is resumed', async () => {
    const running = await stores.submit(newJob({ host: 'web1', command: 'sleep 1; echo went on' }));
    await stateOf(stores, running.id, 'running');
    await stores.hosts.setDraining('web1', true);
    const waiting = await stores.submit(newJob({ host: 'web1', command: 'echo resumed' }));
    expect(await endOf(stores, running.id)).toMatchObject({ state: 'succeeded' });
    expect(await stores.jobs.get(waiting.id)).toMatchObject({ state: 'queued', attempt: 0 });
    await stores.hosts.setDraining('web1', false);
    await stores.wake.dispatch('web1');
    expect(await endOf(stores, waiting.id)).toMatchObject({ state: 'succeeded' });
  });

  it('leaves nothing behind: no slot, no lease, no repetition', async () => {
    await until(async () => (await stores.redis.zcard(stores.keys.slots('web1'))) === 0);
    await until(async () => (await stores.redis.zcard(stores.keys.hostsFollowed)) === 0);
    await until(async () => (await stores.redis.zcard(stores.keys.armed)) === 0, { what: 'disarming' });
  });
});
