/** Starts where the agent is not what it was taken for, or answers too late: never a second one. */
import { afterAll, beforeAll, expect, it } from 'vitest';
import type { AgentFacts } from '../../src/job/host.ts';
import type { Workers } from '../../src/workers/main.ts';
import { type BaseAgent, type Generation, startBaseAgent } from '../helpers/base-agent.ts';
import { startRedis, type TestRedis } from '../helpers/redis.ts';
import { openStores, type Stores } from '../helpers/stores.ts';
import { runToEnd, startTestWorkers } from '../helpers/workers.ts';

let redis: TestRedis;
let stores: Stores;
let workers: Workers;
const agents: BaseAgent[] = [];

beforeAll(async () => {
  redis = await startRedis();
  stores = await openStores(redis.url);
  workers = await startTestWorkers(redis.url, stores);
}, 30_000);

afterAll(async () => {
  await workers?.close();
  for (const agent of agents) await agent.close();
  await stores?.close();
  await redis?.stop();
});

async function register(name: string, generation: Generation): Promise<BaseAgent> {
  const agent = await startBaseAgent({ generation, rate: null });
  agents.push(agent);
  const { address, token, fingerprint } = agent;
  await stores.hosts.put(name, { address, token, tls: { fingerprint } });
  return agent;
}

const FULL: Omit<AgentFacts, 'at'> = {
  kind: 'full',
  protocol: 2,
  version: '1.0.0',
  capabilities: ['idempotent_run'],
  boot_id: 'boot',
  store_id: 'store',
  users: null,
  clock_skew_ms: 0,
};

it.each(['A', 'C'] as const)(
  'a start meant for a Full agent is not repeated to a Base agent of generation %s',
  async (generation) => {
    const host = `was-full-${generation}`;
    const agent = await register(host, generation);
    await stores.hosts.contacted(host, { ...FULL, at: Date.now() });
    const job = await runToEnd(stores, { host, command: 'echo once' });
    expect(job).toMatchObject({ state: 'lost', outcome: { kind: 'ambiguous_start' } });
    expect(agent.startsOf('echo once')).toBe(1);
  },
);
