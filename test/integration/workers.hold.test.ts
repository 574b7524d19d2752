/** Held requests: what they see, and that giving one up is no failure of the host. */
import { afterAll, beforeAll, expect, it } from 'vitest';
import type { Workers } from '../../src/workers/main.ts';
import { type RealAgent, startRealAgent } from '../helpers/real-agent.ts';
import { startRedis, type TestRedis } from '../helpers/redis.ts';
import { type SimulatedFleet, startSimulatedAgents } from '../helpers/simulated-agents.ts';
import { newJob, openStores, type Stores } from '../helpers/stores.ts';
import { until } from '../helpers/until.ts';
import { endOf, startTestWorkers, stateOf } from '../helpers/workers.ts';

let redis: TestRedis;
let stores: Stores;
const workers: Workers[] = [];
const agents: RealAgent[] = [];
let fleet: SimulatedFleet | undefined;

beforeAll(async () => {
  redis = await startRedis();
  stores = await openStores(redis.url);
  for (let i = 0; i < 2; i++) workers.push(await startTestWorkers(redis.url, stores));
});

afterAll(async () => {
  for (const one of workers) await one.close();
  for (const agent of agents) await agent.stop();
  await fleet?.stop();
  await stores?.close();
  await redis?.stop();
});

async function register(name: string): Promise<RealAgent> {
  const agent = await startRealAgent();
  agents.push(agent);
  const { address, token, fingerprint } = agent;
  await stores.hosts.put(name, { address, token, tls: { fingerprint } });
  return agent;
}

it('sees the ends of jobs that came after it was sent, whichever process started them, and its host stays up', async () => {
  await register('busy');
  const long = await stores.submit(newJob({ host: 'busy', command: 'sleep 300' }));
  await stateOf(stores, long.id, 'running');
  await until(() => stores.leases.isClaimed('hold:busy'));
  const statuses = new Set<string>();
  const watch = setInterval(async () => statuses.add((await stores.hosts.health('busy')).status), 20);
  for (let i = 0; i < 6; i++) {
    const { id } = await stores.submit(newJob({ host: 'busy', command: 'sleep 2.5' }));
    await stateOf(stores, id, 'running');
    const { ended_at } = await endOf(stores, id);
    const told = (await stores.jobs.events(id)).at(-1)?.at as number;
    expect(told - (ended_at as number)).toBeLessThan(6_000);
  }
  clearInterval(watch);
  expect([...statuses]).toEqual(['up']);
  await stores.cancel(long.id, { signal: 'KILL', grace_seconds: 0, reason: null }, 'test');
  await endOf(stores, long.id);
});

it('leaves a host that does not answer alone until it is due', async () => {
  const agent = await register('gone');
  const { id } = await stores.submit(newJob({ host: 'gone', command: 'sleep 300' }));
  await stateOf(stores, id, 'running');
  await agent.kill('SIGKILL');
  await until(async () => (await stores.hosts.health('gone')).failures >= 4, { timeoutMs: 40_000 });
  // The pause after the fourth failure is longer than the time between two looks for hosts to hold.
  const { failures, retry_at, seen_at } = await stores.hosts.health('gone');
  const due = Date.now() + ((retry_at as number) - seen_at) - 500;
  await until(() => Date.now() > due, { timeoutMs: 20_000 });
  expect((await stores.hosts.health('gone')).failures).toBe(failures);
}, 70_000);

it('asks within the limit of its host where it does not wait', async () => {
  fleet = await startSimulatedAgents({ hosts: 1, processes: 1, tls: false, delayMs: [40, 80] });
  await stores.hosts.put('narrow', { ...fleet.registration(0), max_requests: 1 });
  const jobs = Array.from({ length: 25 }, () => newJob({ host: 'narrow', command: 'sleep 0.2' }));
  const submitted = await Promise.all(jobs.map((job) => stores.submit(job)));
  for (const { id } of submitted) await endOf(stores, id);
  const [seen] = await fleet.counters();
  expect(seen?.mostHeldAtOnce).toBe(1);
  expect(seen?.mostAtOnce, seen?.atMost.kinds.join()).toBe(1);
});
