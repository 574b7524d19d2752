/** Jobs for an address that only a pattern of the configuration admits: its name has a colon. */
import { afterAll, beforeAll, expect, it } from 'vitest';
import type { Workers } from '../../src/workers/main.ts';
import { type BaseAgent, startBaseAgent } from '../helpers/base-agent.ts';
import { startRedis, type TestRedis } from '../helpers/redis.ts';
import { newJob, openStores, type Stores } from '../helpers/stores.ts';
import { until } from '../helpers/until.ts';
import { endOf, startTestWorkers, stateOf } from '../helpers/workers.ts';

let redis: TestRedis;
let stores: Stores;
let workers: Workers;
let agent: BaseAgent;

beforeAll(async () => {
  [redis, agent] = await Promise.all([startRedis(), startBaseAgent({ generation: 'B' })]);
  stores = await openStores(redis.url);
  const pattern = { match: `127.0.0.0/24:${agent.port}`, token: agent.token };
  workers = await startTestWorkers(redis.url, stores, { addressPatterns: [pattern] });
});
afterAll(async () => {
  await workers?.close();
  await agent?.close();
  await stores?.close();
  await redis?.stop();
});

it('has a repeating poll while its job runs, and none afterwards', async () => {
  const schedulers = `${stores.keys.queuePrefix}:poll:repeat`;
  const { id } = await stores.submit(newJob({ host: agent.address, command: 'sleep 6; echo end' }));
  await stateOf(stores, id, 'running');
  await until(async () => (await stores.redis.zcard(schedulers)) === 1, { what: 'the repetition' });
  const job = await endOf(stores, id);
  expect(job).toMatchObject({ state: 'succeeded', host: agent.address });
  const noticed = (await stores.jobs.events(id)).at(-1)?.at as number;
  expect(noticed - (job.ended_at as number)).toBeLessThan(10_000);
  await until(async () => (await stores.redis.zcard(schedulers)) === 0, {
    what: 'the end of the repetition',
  });
});

it('pins the certificate that the address showed first, and refuses another', async () => {
  expect((await stores.hosts.health(agent.address)).pinned_fingerprint).toBe(agent.fingerprint);
  await agent.replaceCertificate();
  const { id } = await stores.submit(newJob({ host: agent.address, command: 'true' }));
  const health = await until(async () => {
    const now = await stores.hosts.health(agent.address);
    return now.status === 'misconfigured' && now;
  });
  expect(health.remedy).toContain(':trust');
  await stateOf(stores, id, 'queued');
  await stores.hosts.pin(agent.address, agent.fingerprint, { replace: true });
  expect(await endOf(stores, id, 30_000)).toMatchObject({ state: 'succeeded' });
});
