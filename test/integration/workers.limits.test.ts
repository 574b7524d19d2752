/** A host's limits as its agent sees them: rate, jobs at once, priorities, a pause that it asks for. */
import { afterAll, beforeAll, expect, it } from 'vitest';
import type { HostPatch } from '../../src/store/hosts.ts';
import type { Workers } from '../../src/workers/main.ts';
import { type BaseAgent, type BaseAgentOptions, startBaseAgent } from '../helpers/base-agent.ts';
import { type RealAgent, startRealAgent } from '../helpers/real-agent.ts';
import { startRedis, type TestRedis } from '../helpers/redis.ts';
import { newJob, openStores, type Stores } from '../helpers/stores.ts';
import { until } from '../helpers/until.ts';
import { endOf, runToEnd, startTestWorkers, stateOf } from '../helpers/workers.ts';

let redis: TestRedis;
let stores: Stores;
let workers: Workers[];
let full: RealAgent;
const agents: BaseAgent[] = [];

beforeAll(async () => {
  redis = await startRedis();
  stores = await openStores(redis.url);
  full = await startRealAgent();
  // Two, as on two machines: a host's limits are shared by all of them.
  workers = await Promise.all([startTestWorkers(redis.url, stores), startTestWorkers(redis.url, stores)]);
});

afterAll(async () => {
  for (const worker of workers ?? []) await worker.close();
  for (const agent of agents) await agent.close();
  await full?.stop();
  await stores?.close();
  await redis?.stop();
});

async function baseHost(
  name: string,
  options: Partial<BaseAgentOptions>,
  patch: HostPatch,
): Promise<BaseAgent> {
  const agent = await startBaseAgent({ generation: 'A', rate: null, ...options });
  agents.push(agent);
  const { address, token, fingerprint } = agent;
  await stores.hosts.put(name, { address, token, tls: { fingerprint }, ...patch });
  return agent;
}

async function fullHost(name: string, patch: HostPatch): Promise<void> {
  const { address, token, fingerprint } = full;
  await stores.hosts.put(name, { address, token, tls: { fingerprint }, ...patch });
}

const submit = (host: string, command: string, more = {}) =>
  stores.submit(newJob({ host, command, ...more }));

it('an agent that counts every request never has to refuse one, and a host full of long jobs takes new ones', async () => {
  const agent = await baseHost(
    'counting',
    { rate: { limit: 26, periodMs: 2_000, counts: 'all' } },
    { launcher: false, rate: { limit: 20, period_seconds: 2, burst: 5 } },
  );
  const long = await Promise.all(Array.from({ length: 12 }, () => submit('counting', 'sleep 600')));
  await Promise.all(long.map(({ id }) => stateOf(stores, id, 'running')));
  for (let i = 0; i < 3; i++) {
    expect(await runToEnd(stores, { host: 'counting', command: 'true' })).toMatchObject({
      state: 'succeeded',
    });
  }
  expect(agent.answers[429]).toBeUndefined();
  expect((await stores.hosts.health('counting')).failures).toBe(0);
  const order = { signal: 'TERM', grace_seconds: 0, reason: null };
  for (const { id } of long) await stores.cancel(id, order, 'test');
  await Promise.all(long.map(({ id }) => endOf(stores, id, 60_000)));
  expect(agent.answers[429]).toBeUndefined();
}, 120_000);

it('a 429 is a pause and no attempt: the job starts when the agent takes it', async () => {
  const agent = await baseHost('busy', {}, { launcher: false });
  await runToEnd(stores, { host: 'busy', command: 'true' });
  agent.fault('/run', { kind: 'reply', status: 429, headers: { 'retry-after': '1' } }, 2);
  const began = Date.now();
  const job = await runToEnd(stores, { host: 'busy', command: 'echo once' });
  expect(job).toMatchObject({ state: 'succeeded', attempt: 1 });
  expect(Date.now() - began).toBeGreaterThan(1_900);
  expect(agent.startsOf('echo once')).toBe(1);
  expect(await stores.hosts.health('busy')).toMatchObject({ status: 'up', failures: 0 });
});

it('a start refused for want of disk holds up other starts alone: what runs is followed and canceled', async () => {
  const agent = await baseHost('crammed', {}, { launcher: false });
  const filling = await submit('crammed', 'sleep 600');
  const ending = await submit('crammed', 'sleep 3');
  for (const { id } of [filling, ending]) await stateOf(stores, id, 'running');
  const body = JSON.stringify({ error: 'disk_full', message: 'the disk of the spool is full' });
  const full = { kind: 'reply', status: 507, body, type: 'application/json' } as const;
  agent.fault('/run', full);
  // A cancel that finds no room is sent again by itself.
  agent.fault('/cancel', full);
  const refused = await submit('crammed', 'echo refused');
  await until(async () => (await stores.hosts.health('crammed')).no_starts_until !== null, {
    what: 'the refusal of a start',
  });
  const next = await submit('crammed', 'echo next');
  await stores.cancel(filling.id, { signal: 'TERM', grace_seconds: 0, reason: null }, 'test');
  expect(await endOf(stores, filling.id, 15_000)).toMatchObject({ state: 'canceled' });
  expect(await endOf(stores, ending.id, 15_000)).toMatchObject({ state: 'succeeded' });
  const { retry_at, no_starts_until, seen_at } = await stores.hosts.health('crammed');
  expect([retry_at, (no_starts_until ?? 0) > seen_at]).toEqual([null, true]);
  const waiting = await stores.jobs.getMany([refused.id, next.id]);
  expect(waiting.map((job) => job?.state)).toEqual(['queued', 'queued']);
  expect(agent.startsOf('echo next')).toBe(0);
}, 60_000);

it('no more jobs than max_jobs run at once, and the next starts as soon as one ends', async () => {
  await fullHost('etl', { max_jobs: 2 });
  const jobs = await Promise.all(
    Array.from({ length: 5 }, (_, i) => submit('etl', `sleep ${i < 2 ? 600 : 0}`)),
  );
  const states = async () => (await stores.jobs.getMany(jobs.map(({ id }) => id))).map((job) => job?.state);
  await until(async () => (await states()).filter((state) => state === 'running').length === 2);
  expect((await states()).filter((state) => state === 'queued')).toHaveLength(3);
  const running = (await stores.jobs.getMany(jobs.map(({ id }) => id))).filter(
    (job) => job?.state === 'running',
  );
  await stores.cancel(running[0]?.id as string, { signal: 'KILL', grace_seconds: 0, reason: null }, 'test');
  await until(async () => (await states()).filter((state) => state === 'succeeded').length === 3, {
    timeoutMs: 20_000,
    what: 'the others to run one after another',
  });
  await stores.cancel(running[1]?.id as string, { signal: 'KILL', grace_seconds: 0, reason: null }, 'test');
  await endOf(stores, running[1]?.id as string);
});

it('a raised max_jobs holds at once for what is queued', async () => {
  const { address, token, fingerprint } = await startBaseAgent({ generation: 'A', rate: null }).then(
    (agent) => {
      agents.push(agent);
      return agent;
    },
  );
  await stores.hosts.put('live', { address, token, tls: { fingerprint }, launcher: false, max_jobs: 1 });
  const jobs = await Promise.all(Array.from({ length: 3 }, () => submit('live', 'sleep 600')));
  const running = async () =>
    (await stores.jobs.getMany(jobs.map(({ id }) => id))).filter((job) => job?.state === 'running').length;
  await until(async () => (await running()) === 1);
  await stores.hosts.put('live', { max_jobs: 3 });
  await stores.wake.dispatch('live');
  await until(async () => (await running()) === 3);
});

it('higher priorities start first, and one caller’s flood does not hold up another’s single job', async () => {
  const agent = await baseHost('queue', {}, { launcher: false, max_requests: 2, max_jobs: 1 });
  const blocker = await submit('queue', 'sleep 600');
  await stateOf(stores, blocker.id, 'running');
  const flood = await Promise.all(
    Array.from({ length: 12 }, (_, i) => submit('queue', `true flood ${i}`, { created_by: 'flood' })),
  );
  const single = await submit('queue', 'true single', { created_by: 'single' });
  const urgent = await submit('queue', 'true urgent', { created_by: 'flood', priority: 9 });
  await stores.cancel(blocker.id, { signal: 'KILL', grace_seconds: 0, reason: null }, 'test');
  await Promise.all([...flood, single, urgent].map(({ id }) => endOf(stores, id, 60_000)));
  const order = agent.commands.map((command) => /true (\w+)/.exec(command)?.[1]).filter((word) => word);
  expect(order[0]).toBe('urgent');
  expect(order.slice(1, 4)).toContain('single');
}, 90_000);
