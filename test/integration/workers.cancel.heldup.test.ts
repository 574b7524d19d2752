/** A cancel of a job whose start is held up in the gateway, for longer than a start takes to arrive: it is not sent any more. */
import { afterEach, beforeEach, expect, it } from 'vitest';
import type { HostRate } from '../../src/job/host.ts';
import type { Workers } from '../../src/workers/main.ts';
import { type BaseAgent, startBaseAgent } from '../helpers/base-agent.ts';
import { startRedis, type TestRedis } from '../helpers/redis.ts';
import { startStallingProxy } from '../helpers/stalling-proxy.ts';
import { newJob, openStores, type Stores } from '../helpers/stores.ts';
import { until } from '../helpers/until.ts';
import { endOf, startTestWorkers, stateOf } from '../helpers/workers.ts';

let redis: TestRedis;
let stores: Stores;
let proxy: Awaited<ReturnType<typeof startStallingProxy>>;
let workers: Workers;
let agent: BaseAgent;

beforeEach(async () => {
  [redis, agent] = await Promise.all([startRedis(), startBaseAgent({ generation: 'B', rate: null })]);
  stores = await openStores(redis.url);
  // The script of moves is in Redis by then: else its name alone is sent first, and nothing is moved by that.
  await cancel((await stores.submit(newJob({ host: 'nobody', command: 'true' }))).id);
  proxy = await startStallingProxy(redis.url, '"to":"dispatching"');
  workers = await startTestWorkers(proxy.url, stores);
});
afterEach(async () => {
  proxy?.goOn();
  await workers?.close();
  await proxy?.stop();
  await agent?.close();
  await stores?.close();
  await redis?.stop();
});

/** A plain Base agent's job, `dispatching`, whose worker has not heard yet that it is. */
async function heldUp(rate: HostRate | null): Promise<string> {
  const { address, token, fingerprint } = agent;
  await stores.hosts.put('plain', { address, token, tls: { fingerprint }, launcher: false, rate });
  const { id } = await stores.submit(newJob({ host: 'plain', command: 'echo held up' }));
  await proxy.stalled;
  const { dispatched_at } = await stateOf(stores, id, 'dispatching');
  // Longer than a start that needs no second look.
  await until(() => Date.now() > (dispatched_at as number) + 1_500);
  return id;
}

const cancel = (id: string) => stores.cancel(id, { signal: 'TERM', grace_seconds: 1, reason: null }, 'test');

it('by a slow store', async () => {
  const id = await heldUp(null);
  await cancel(id);
  proxy.goOn();
  const job = await endOf(stores, id, 40_000);
  expect(job).toMatchObject({
    state: 'canceled',
    started_at: null,
    outcome: { kind: 'canceled', proof: null },
  });
  expect(agent.startsOf('echo held up')).toBe(0);
});

it('for want of another token', async () => {
  const id = await heldUp({ limit: 1, period_seconds: 4 });
  const begun = agent.requests['/run'] ?? 0;
  proxy.goOn();
  await cancel(id);
  const job = await endOf(stores, id, 40_000);
  expect(job).toMatchObject({
    state: 'canceled',
    started_at: null,
    outcome: { kind: 'canceled', proof: null },
  });
  expect(agent.requests['/run'] ?? 0).toBe(begun);
});

it('the start is sent once where nobody cancels it, and its time counts from then', async () => {
  const id = await heldUp(null);
  const { dispatched_at: before } = await stateOf(stores, id, 'dispatching');
  proxy.goOn();
  const job = await endOf(stores, id);
  expect(job).toMatchObject({ state: 'succeeded', attempt: 1 });
  expect(job.dispatched_at).toBeGreaterThan(before as number);
  expect(agent.startsOf('echo held up')).toBe(1);
});
