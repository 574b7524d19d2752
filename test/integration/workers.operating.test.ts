/** What a worker tells supervisors and Prometheus: over a real listener, with Redis there, stopped and gone. */
import { once } from 'node:events';
import { type AddressInfo, createServer } from 'node:net';
import { afterAll, afterEach, beforeAll, beforeEach, expect, it } from 'vitest';
import type { Workers } from '../../src/workers/main.ts';
import { startRealAgent } from '../helpers/real-agent.ts';
import { startRedis, type TestRedis } from '../helpers/redis.ts';
import { newJob, openStores, type Stores } from '../helpers/stores.ts';
import { until } from '../helpers/until.ts';
import { endOf, startTestWorkers } from '../helpers/workers.ts';

let redis: TestRedis;
let stores: Stores;
let workers: Workers;

beforeAll(async () => {
  redis = await startRedis();
  stores = await openStores(redis.url);
});
afterAll(async () => {
  await stores?.close();
  await redis?.stop();
});
beforeEach(async () => {
  const metricsListen = { host: '127.0.0.1', port: 0 };
  workers = await startTestWorkers(redis.url, stores, { metricsListen });
});
afterEach(async () => {
  await workers?.close();
});

const get = (path: string, init?: RequestInit) => fetch(`${workers.metricsUrl}${path}`, init);
const metrics = async () => (await get('/metrics')).text();
/** The value of a series; undefined where it is missing. */
async function figure(series: string): Promise<number | undefined> {
  const line = (await metrics()).split('\n').find((one) => one.startsWith(`${series} `));
  return line === undefined ? undefined : Number(line.slice(series.length));
}

it('answers what is asked of it and nothing else', async () => {
  expect(await (await get('/livez')).json()).toEqual({ status: 'alive' });
  expect(await (await get('/readyz?x=1')).json()).toEqual({ status: 'ready' });
  const told = await get('/metrics');
  expect([told.status, told.headers.get('content-type')]).toEqual([
    200,
    expect.stringContaining('text/plain'),
  ]);
  expect((await get('/jobs')).status).toBe(404);
  expect((await get('/constructor')).status).toBe(404);
  expect((await get('/metrics', { method: 'POST' })).status).toBe(405);
  expect(await (await get('/livez', { method: 'HEAD' })).text()).toBe('');
});

it('tells how busy it is, and how long ago it swept and surveyed', async () => {
  await until(async () => (await figure('sluice_survey_age_seconds')) !== undefined);
  await until(async () => ((await figure('sluice_sweep_age_seconds')) ?? 99) < 5);
  expect(await figure('sluice_worker_concurrency{queue="dispatch"}')).toBe(100);
  expect(await figure('sluice_worker_runs{queue="poll"}')).toBe(0);
  expect(await figure('sluice_redis_up')).toBe(1);
});

it('counts hosts by what is learnt of them, and requests to them by outcome', async () => {
  await stores.hosts.put('closed', { address: '127.0.0.1:1', token: 't' });
  await stores.submit(newJob({ host: 'closed', command: 'true' }));
  await until(async () => (await figure('sluice_hosts{status="down"}')) === 1, { timeoutMs: 20_000 });
  expect(await figure('sluice_hosts_registered')).toBe(1);
  expect(await figure('sluice_host_status_changes_total{status="suspect"}')).toBe(1);
  expect(await figure('sluice_host_status_changes_total{status="down"}')).toBe(1);
  const requests = 'sluice_agent_requests_total{endpoint="ping",outcome="agent_unreachable"}';
  expect(await figure(requests)).toBeGreaterThanOrEqual(3);
  expect(await figure('sluice_agent_request_duration_seconds_count{endpoint="ping"}')).toBe(
    await figure(requests),
  );
}, 40_000);

it('counts how often a limit of a host keeps a job from being started, by the limit', async () => {
  const agent = await startRealAgent();
  const { address, token, fingerprint } = agent;
  await stores.hosts.put('narrow', { address, token, tls: { fingerprint }, max_jobs: 1 });
  const [, second] = await Promise.all(
    [1, 2].map(() => stores.submit(newJob({ host: 'narrow', command: 'sleep 1' }))),
  );
  await until(async () => ((await figure('sluice_limited_total{limit="max_jobs",for="start"}')) ?? 0) > 0);
  await endOf(stores, second!.id);
  expect(await figure('sluice_agent_requests_total{endpoint="run",outcome="ok"}')).toBe(2);
  expect(await figure('sluice_jobs{state="succeeded"}')).toBe(2);
  await agent.stop();
});

it('says that Redis is silent in a scrape that ends all the same, and leaves out what it cannot know', async () => {
  await redis.kill('SIGSTOP');
  try {
    const began = performance.now();
    const text = await metrics();
    expect(performance.now() - began).toBeLessThan(5_000);
    expect(text).toMatch(/^sluice_redis_up 0$/m);
    expect(text).not.toMatch(/^sluice_(jobs|hosts|sweep_age_seconds|due_late_seconds)[ {]/m);
    expect(text).toMatch(/^sluice_worker_concurrency\{queue="poll"\} \d+$/m);
    const ready = await get('/readyz');
    expect([ready.status, await ready.text()]).toEqual([
      503,
      expect.stringContaining('Redis does not answer'),
    ]);
    expect((await get('/livez')).status).toBe(200);
  } finally {
    await redis.kill('SIGCONT');
  }
  await until(async () => (await figure('sluice_redis_up')) === 1);
});

it('says that Redis is gone, and that it is back', async () => {
  await redis.kill();
  try {
    expect(await figure('sluice_redis_up')).toBe(0);
    expect(await figure('sluice_jobs{state="queued"}')).toBeUndefined();
  } finally {
    await redis.restart();
  }
  await until(async () => (await figure('sluice_redis_up')) === 1);
  expect(await figure('sluice_jobs{state="queued"}')).toBeDefined();
});

it('an address that is in use ends the start, and nothing is left open', async () => {
  const taken = createServer().listen(0, '127.0.0.1');
  await once(taken, 'listening');
  const { port } = taken.address() as AddressInfo;
  const listening = startTestWorkers(redis.url, stores, { metricsListen: { host: '127.0.0.1', port } });
  await expect(listening).rejects.toMatchObject({ code: 'EADDRINUSE' });
  taken.close();
  const connections = async () =>
    String(await stores.redis.call('CLIENT', 'LIST')).match(/name=sluice:workers /g)?.length ?? 0;
  await until(async () => (await connections()) === 1);
});

it('without an address it listens nowhere', async () => {
  const silent = await startTestWorkers(redis.url, stores);
  expect(silent.metricsUrl).toBeNull();
  await silent.close();
});
