/** Starts where the agent is not what it was taken for, or answers too late: never a second one. */
import { afterAll, beforeAll, expect, it } from 'vitest';
import type { AgentFacts } from '../../src/job/host.ts';
import type { Workers } from '../../src/workers/main.ts';
import { type BaseAgent, type Generation, startBaseAgent } from '../helpers/base-agent.ts';
import { startRedis, type TestRedis } from '../helpers/redis.ts';
import { newJob, openStores, type Stores } from '../helpers/stores.ts';
import { until } from '../helpers/until.ts';
import { endOf, runToEnd, startTestWorkers } from '../helpers/workers.ts';

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

it('a job that started in time is not stopped, though its host says so after the start deadline only', async () => {
  const agent = await register('late', 'B');
  await runToEnd(stores, { host: 'late', command: 'true' });
  agent.fault('/run', { kind: 'reset', when: 'after' });
  const fields = { host: 'late', command: 'sleep 5; exit 7', start_deadline_seconds: 2 };
  const { id, created_at } = await stores.submit(newJob(fields));
  await until(() => agent.startsOf('sleep 5; exit 7') === 1);
  await agent.stopListening();
  await until(() => Date.now() > created_at + 2_200);
  await agent.startListening();
  expect(await endOf(stores, id)).toMatchObject({
    state: 'failed',
    outcome: { kind: 'exit', return_code: 7 },
  });
});

it('a start of which the host knows nothing at its deadline expires, and cannot start afterwards', async () => {
  const agent = await register('never', 'B');
  await runToEnd(stores, { host: 'never', command: 'true' });
  agent.fault('/run', { kind: 'reset', when: 'before' });
  const fields = { host: 'never', command: 'echo never', start_deadline_seconds: 2 };
  const { id, created_at } = await stores.submit(newJob(fields));
  await until(async () => (await stores.jobs.get(id))?.state === 'dispatching');
  await agent.stopListening();
  await until(() => Date.now() > created_at + 2_200);
  await agent.startListening();
  expect(await endOf(stores, id)).toMatchObject({ state: 'expired', outcome: { kind: 'expired' } });
  expect(agent.startsOf('echo never')).toBe(0);
});

it('a host that is moved while its jobs are being started has the next ones started where it is now', async () => {
  const [here, there] = [
    await register('moving', 'B'),
    await startBaseAgent({ generation: 'B', rate: null }),
  ];
  agents.push(there);
  await runToEnd(stores, { host: 'moving', command: 'true' });
  const before = here.requests['/run'] ?? 0;
  // Keeps the drain at work: this one's reply never comes.
  here.fault('/run', { kind: 'hang', when: 'before' });
  await stores.submit(newJob({ host: 'moving', command: 'echo stuck' }));
  await until(() => (here.requests['/run'] ?? 0) > before);
  const { address, token, fingerprint } = there;
  await stores.hosts.put('moving', { address, token, tls: { fingerprint } });
  const job = await runToEnd(stores, { host: 'moving', command: 'echo moved' });
  expect(job.state).toBe('succeeded');
  expect([here.startsOf('echo moved'), there.startsOf('echo moved')]).toEqual([0, 1]);
});

it('a host that is not known is not looked at every second', async () => {
  await stores.submit(newJob({ host: 'nobody', command: 'true' }));
  const armedIn = async () => {
    const at = Number(await stores.redis.zscore(stores.keys.armed, 'nobody'));
    return at - (await stores.jobs.now());
  };
  await until(async () => (await armedIn()) > 30_000);
});

it('a question about a start that fails is no answer: nothing is started a second time for it', async () => {
  const agent = await register('mumbles', 'C');
  await stores.hosts.put('mumbles', { launcher: false });
  agent.fault('/run', { kind: 'reset', when: 'after' });
  agent.fault('/status', { kind: 'reply', status: 500, body: '{"error":"boom"}' }, 3);
  const fields = { host: 'mumbles', command: 'echo mumble', on_ambiguous_start: 'retry' } as const;
  expect(await runToEnd(stores, fields)).toMatchObject({ state: 'succeeded', attempt: 1 });
  expect(agent.startsOf('echo mumble')).toBe(1);
});
