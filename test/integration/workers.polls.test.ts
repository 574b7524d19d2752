/** A Full agent that nobody holds a request at (`heldHosts` 0): asked by interval, like everybody beyond the limit. */
import { afterAll, beforeAll, expect, it } from 'vitest';
import type { Workers } from '../../src/workers/main.ts';
import { type RealAgent, startRealAgent } from '../helpers/real-agent.ts';
import { startRedis, type TestRedis } from '../helpers/redis.ts';
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
