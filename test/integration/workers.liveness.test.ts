/** Workers whose connections to Redis are cut or go silent: they find their way back, or ask to be restarted. */
import { afterAll, afterEach, beforeAll, beforeEach, expect, it } from 'vitest';
import { createProcessMetrics } from '../../src/metrics/process.ts';
import type { Workers, WorkersDeps } from '../../src/workers/main.ts';
import { type FreezingProxy, startFreezingProxy } from '../helpers/freezing-proxy.ts';
import { type RealAgent, startRealAgent } from '../helpers/real-agent.ts';
import { startRedis, type TestRedis } from '../helpers/redis.ts';
import { openStores, type Stores } from '../helpers/stores.ts';
import { until } from '../helpers/until.ts';
import { runToEnd, startTestWorkers } from '../helpers/workers.ts';

/** Far below the 15 s after which a silent connection is given up by itself. */
const QUICK: WorkersDeps['liveness'] = { everyMs: 200, stuckMs: 600, checks: 2 };
/** All connections but the one that the checks go by. */
const WORKING = (said: string) => !said.includes('sluice:workers-queues');

let redis: TestRedis;
let agent: RealAgent;
let stores: Stores;
let proxy: FreezingProxy;
let workers: Workers;
let metrics: ReturnType<typeof createProcessMetrics>;
let givenUp: Error[];

beforeAll(async () => {
  [redis, agent] = await Promise.all([startRedis(), startRealAgent()]);
  stores = await openStores(redis.url);
});
afterAll(async () => {
  await stores?.close();
  await agent?.stop();
  await redis?.stop();
});
beforeEach(async () => {
  // What a worker had in hand when it fell silent is somebody else's only after seconds.
  await stores.redis.flushall();
  const { address, token, fingerprint } = agent;
  await stores.hosts.put('web1', { address, token, tls: { fingerprint } });
  proxy = await startFreezingProxy(redis.url);
  metrics = createProcessMetrics();
  givenUp = [];
  workers = await startTestWorkers(
    proxy.url,
    stores,
    { metricsListen: { host: '127.0.0.1', port: 0 } },
    { metrics, liveness: QUICK, onGivenUp: (error) => void givenUp.push(error) },
  );
  await runToEnd(stores, { host: 'web1', command: 'true' });
  await idle();
});
afterEach(async () => {
  await workers?.close();
  await proxy?.stop();
});

const queue = (name: string) => `${stores.keys.queuePrefix}:dispatch:${name}`;
const idle = () => until(async () => (await stores.redis.llen(queue('active'))) === 0);
const repairs = async () => {
  const { values } = (await metrics.registry.getSingleMetric('sluice_worker_repairs_total')?.get()) ?? {
    values: [],
  };
  return values.map(({ labels }) => `${labels.queue} ${labels.step}`);
};
const livez = async () => (await fetch(`${workers.metricsUrl}/livez`)).status;

it('a worker whose connections were killed goes on without being mended', async () => {
  await stores.redis.call('CLIENT', 'KILL', 'TYPE', 'normal', 'SKIPME', 'yes');
  expect(await runToEnd(stores, { host: 'web1', command: 'true' })).toMatchObject({ state: 'succeeded' });
  expect(givenUp).toEqual([]);
});

it('a worker is not blamed for a Redis that answers nobody', async () => {
  await stores.redis.call('CLIENT', 'PAUSE', 2_500, 'ALL');
  expect(await runToEnd(stores, { host: 'web1', command: 'true' })).toMatchObject({ state: 'succeeded' });
  expect(await livez()).toBe(200);
  expect(givenUp).toEqual([]);
});

it('a worker whose connections went silent is made anew, and does what waited', async () => {
  proxy.freeze(WORKING);
  const began = performance.now();
  expect(await runToEnd(stores, { host: 'web1', command: 'true' })).toMatchObject({ state: 'succeeded' });
  expect(performance.now() - began).toBeLessThan(10_000);
  expect(await repairs()).toEqual(expect.arrayContaining(['dispatch nudge', 'dispatch recreate']));
  await until(async () => (await livez()) === 200);
  expect(givenUp).toEqual([]);
});

it('a worker that cannot be mended says so to its supervisor, then gives up', async () => {
  proxy.freeze(WORKING, { newOnesToo: true });
  await stores.wake.dispatch('web2');
  await until(async () => (await livez()) === 503, { what: 'livez to be red', everyMs: 50 });
  await until(() => givenUp.length > 0, { what: 'the worker to give up' });
  expect(givenUp[0]?.message).toContain('dispatch');
  expect((await repairs()).filter((line) => line.startsWith('dispatch'))).toEqual([
    'dispatch nudge',
    'dispatch recreate',
    'dispatch give_up',
  ]);
  proxy.thaw();
});

it('a worker that is only busy is left alone', async () => {
  await workers.close();
  metrics = createProcessMetrics();
  workers = await startTestWorkers(
    proxy.url,
    stores,
    { dispatchConcurrency: 1 },
    { metrics, liveness: QUICK },
  );
  // Its start is held until it ends, and takes the only place for as long.
  const busy = runToEnd(stores, { host: 'web1', command: 'sleep 2', mode: 'sync' });
  await until(async () => (await stores.redis.llen(queue('active'))) === 1);
  await stores.wake.dispatch('web2');
  expect(await stores.redis.llen(queue('wait'))).toBe(1);
  await busy;
  expect(await repairs()).toEqual([]);
  await until(async () => (await stores.redis.llen(queue('wait'))) === 0);
});
