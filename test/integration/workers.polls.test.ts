/** A Full agent that nobody holds a request at (`heldHosts` 0): asked by interval, like everybody beyond the limit. */
import { afterAll, beforeAll, expect, it } from 'vitest';
import type { Workers } from '../../src/workers/main.ts';
import { type RealAgent, startRealAgent } from '../helpers/real-agent.ts';
import { startRedis, type TestRedis } from '../helpers/redis.ts';
import { startSimulatedAgents } from '../helpers/simulated-agents.ts';
import { newJob, openStores, type Stores } from '../helpers/stores.ts';
import { until } from '../helpers/until.ts';
import { endOf, startTestWorkers } from '../helpers/workers.ts';

let redis: TestRedis;
let agent: RealAgent;
let stores: Stores;
let workers: Workers;

beforeAll(async () => {
  [redis, agent] = await Promise.all([startRedis(), startRealAgent()]);
  stores = await openStores(redis.url);
  const { address, token, fingerprint } = agent;
  await stores.hosts.put('polled', { address, token, tls: { fingerprint } });
  workers = await startTestWorkers(redis.url, stores, { heldHosts: 0 });
});
afterAll(async () => {
  await workers?.close();
  await stores?.close();
  await agent?.stop();
  await redis?.stop();
});

it('shows how much a running job has written so far, and finds its end', async () => {
  const { id } = await stores.submit(newJob({ host: 'polled', command: 'echo 12345; sleep 3; exit 4' }));
  await until(
    async () => {
      const job = await stores.jobs.get(id);
      return job?.state === 'running' && job.stdout_bytes === 6;
    },
    { what: 'its bytes while it runs' },
  );
  expect(await stores.redis.exists(stores.keys.lease('hold:polled'))).toBe(0);
  expect(await endOf(stores, id)).toMatchObject({ state: 'failed', outcome: { return_code: 4 } });
});

it('loses sight of nothing when a hundred jobs run on the host at once', async () => {
  const submitted = await Promise.all(
    Array.from({ length: 100 }, (_, i) =>
      stores.submit(newJob({ host: 'polled', command: `sleep 1; exit ${i}` })),
    ),
  );
  for (const [i, { id }] of submitted.entries()) {
    expect((await endOf(stores, id, 60_000)).outcome?.return_code).toBe(i);
  }
}, 90_000);

it('asks about a hundred jobs that run on in as many requests as about one', async () => {
  const fleet = await startSimulatedAgents({ hosts: 1, processes: 1, tls: false });
  await stores.hosts.put('many', { ...fleet.registration(0), max_requests: 8 });
  const jobs = await Promise.all(
    Array.from({ length: 100 }, () =>
      stores.submit(newJob({ host: 'many', command: 'sleep 600', poll_interval: 2 })),
    ),
  );
  const allAreRunning = async () =>
    (await stores.jobs.glance(jobs.map(({ id }) => id))).running.length === 100;
  await until(allAreRunning, { timeoutMs: 30_000, what: 'a hundred running jobs' });
  // From an age of 8 s on each is asked about every 2 s.
  const grown = Date.now() + 9_000;
  await until(() => Date.now() > grown, { timeoutMs: 20_000 });
  const asked = async () => (await fleet.counters())[0]!.requests.status;
  const before = await asked();
  const end = Date.now() + 6_000;
  await until(() => Date.now() > end, { timeoutMs: 20_000 });
  const requests = (await asked()) - before;
  expect(requests).toBeGreaterThanOrEqual(2);
  expect(requests).toBeLessThanOrEqual(6);
  await fleet.stop();
}, 90_000);
