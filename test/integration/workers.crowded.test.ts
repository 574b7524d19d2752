/** More hosts with work than a process has places for: each has its turn. */
import { afterAll, beforeAll, expect, it } from 'vitest';
import type { Workers } from '../../src/workers/main.ts';
import { type BaseAgent, startBaseAgent } from '../helpers/base-agent.ts';
import { startRedis, type TestRedis } from '../helpers/redis.ts';
import { newJob, openStores, type Stores } from '../helpers/stores.ts';
import { runToEnd, startTestWorkers, stateOf } from '../helpers/workers.ts';

let redis: TestRedis;
let stores: Stores;
let workers: Workers;
let agents: BaseAgent[] = [];

beforeAll(async () => {
  redis = await startRedis();
  stores = await openStores(redis.url);
  agents = await Promise.all([1, 2].map(() => startBaseAgent({ generation: 'A', rate: null })));
  workers = await startTestWorkers(redis.url, stores, { dispatchConcurrency: 1 });
});
afterAll(async () => {
  await workers?.close();
  for (const agent of agents) await agent.close();
  await stores?.close();
  await redis?.stop();
});

it('a host that is started on at its pace for long leaves its place to another', async () => {
  const rate = { limit: 5, period_seconds: 1, burst: 1 };
  for (const [i, { address, token, fingerprint }] of agents.entries()) {
    await stores.hosts.put(`h${i}`, {
      address,
      token,
      tls: { fingerprint },
      launcher: false,
      ...(i === 0 && { rate }),
    });
  }
  const jobs = Array.from({ length: 150 }, () => newJob({ host: 'h0', command: 'true' }));
  for (const job of jobs) await stores.submit(job);
  await stateOf(stores, jobs[0]!.id, 'succeeded');
  expect(await runToEnd(stores, { host: 'h1', command: 'true' })).toMatchObject({ state: 'succeeded' });
  // The first host's queue lasts for half a minute at the least: nobody waited for its end.
  expect((await stores.hosts.jobCounts('h0')).queued).toBeGreaterThan(0);
});
