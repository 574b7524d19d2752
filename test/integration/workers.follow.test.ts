/** Jobs that are followed while their host, its agent or a cancel makes it hard. */
import { afterAll, beforeAll, expect, it } from 'vitest';
import type { Workers } from '../../src/workers/main.ts';
import { type BaseAgent, type Generation, startBaseAgent } from '../helpers/base-agent.ts';
import { startRedis, type TestRedis } from '../helpers/redis.ts';
import { newJob, openStores, type Stores } from '../helpers/stores.ts';
import { until } from '../helpers/until.ts';
import { endOf, startTestWorkers, stateOf } from '../helpers/workers.ts';

let redis: TestRedis;
let stores: Stores;
let workers: Workers;
const agents: BaseAgent[] = [];

beforeAll(async () => {
  redis = await startRedis();
  stores = await openStores(redis.url);
  workers = await startTestWorkers(redis.url, stores);
});

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

it('a job of a Base agent is asked about though a request is held on its host', async () => {
  await register('both', 'B');
  const { id } = await stores.submit(newJob({ host: 'both', command: 'sleep 3; exit 5' }));
  await stateOf(stores, id, 'running');
  // As if a Full agent had come there: some process holds a request about its jobs.
  const hold = setInterval(() => void stores.leases.claim('hold:both', 'another process', 8_000), 200);
  try {
    expect(await endOf(stores, id, 15_000)).toMatchObject({ state: 'failed', outcome: { return_code: 5 } });
  } finally {
    clearInterval(hold);
  }
});

it('a cancel that cannot be delivered ends in lost, and is delivered once the host is back', async () => {
  const agent = await register('away', 'B');
  const fields = { host: 'away', command: 'sleep 300', poll_interval: 1, lost_after_seconds: 3 };
  const { id } = await stores.submit(newJob(fields));
  await stateOf(stores, id, 'running');
  await agent.stopListening();
  await stores.cancel(id, { signal: 'TERM', grace_seconds: 0, reason: null }, 'test');
  expect(await until(inState(id, 'away', 'lost'), { timeoutMs: 30_000 })).toMatchObject({
    outcome: { kind: 'silent' },
  });
  await agent.startListening();
  await until(inState(id, 'away', 'canceled'), { timeoutMs: 30_000 });
  const job = await stores.jobs.get(id);
  expect(job).toMatchObject({ outcome: { kind: 'canceled', proof: 'group+marker' } });
  expect(job?.recovered_at).not.toBeNull();
}, 90_000);

it('a job that cannot be stopped at its timeout keeps no other from its end', async () => {
  const agent = await register('stubborn', 'C');
  await stores.hosts.put('stubborn', { launcher: false });
  agent.fault('/cancel', { kind: 'reply', status: 500, body: '{"error":"boom"}' }, 1_000);
  const common = { host: 'stubborn', poll_interval: 1 };
  const late = await stores.submit(newJob({ ...common, command: 'sleep 60', timeout_seconds: 1 }));
  const { id } = await stores.submit(newJob({ ...common, command: 'sleep 4; true' }));
  await until(() => (agent.requests['/cancel'] ?? 0) > 2);
  expect(await endOf(stores, id, 15_000)).toMatchObject({ state: 'succeeded' });
  agent.mend();
  expect(await endOf(stores, late.id)).toMatchObject({ state: 'timed_out' });
});

/** Whether the job is in this state, with all pauses of its host over. */
function inState(id: string, host: string, state: string) {
  return async () => {
    await stores.redis.hdel(stores.keys.hostHealth(host), 'retry_at');
    await stores.followed.askAt(host, new Map([[id, 0]]));
    const job = await stores.jobs.get(id);
    return job?.state === state && job;
  };
}
