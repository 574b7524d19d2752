/**
 * With SLUICE_ACK_REPLICAS a start is sent once the replica knows of it: on a Base agent without the launcher, which would
 * start what a failover forgot a second time, and on a Full one, whose starts else begin with their take.
 */
import { afterAll, beforeAll, expect, it } from 'vitest';
import type { Job } from '../../src/job/record.ts';
import type { Workers } from '../../src/workers/main.ts';
import { type BaseAgent, startBaseAgent } from '../helpers/base-agent.ts';
import { withClient } from '../helpers/redis-process.ts';
import { type ReplicatedRedis, startReplicatedRedis } from '../helpers/redis-replica.ts';
import { type SimulatedFleet, startSimulatedAgents } from '../helpers/simulated-agents.ts';
import { newJob, openStores, type Stores } from '../helpers/stores.ts';
import { until } from '../helpers/until.ts';
import { endOf, runToEnd, startTestWorkers, stateOf } from '../helpers/workers.ts';

let redis: ReplicatedRedis;
let stores: Stores;
let workers: Workers;
let agent: BaseAgent;
let full: SimulatedFleet;

beforeAll(async () => {
  [redis, agent, full] = await Promise.all([
    startReplicatedRedis(),
    startBaseAgent({ generation: 'B', rate: null }),
    startSimulatedAgents({ hosts: 1, processes: 1 }),
  ]);
  stores = await openStores(redis.url);
  const { address, token, fingerprint } = agent;
  await stores.hosts.put('plain', { address, token, tls: { fingerprint }, launcher: false });
  const [{ name, ...reach }] = full.hosts as [SimulatedFleet['hosts'][number]];
  await stores.hosts.put('full', reach);
  workers = await startTestWorkers(redis.url, stores, { needs: { durability: 'everysec', ackReplicas: 1 } });
});
afterAll(async () => {
  await workers?.close();
  await agent?.close();
  await full?.stop();
  await stores?.close();
  await redis?.stop();
});

it('the replica has the launch token by the time that the host gets it', async () => {
  const { id } = await stores.submit(newJob({ host: 'plain', command: 'sleep 1' }));
  await until(() => agent.startsOf('sleep 1') === 1, { everyMs: 1 });
  const key = stores.keys.job(id);
  const seen = await withClient(redis.replica.reach, (client) => client.hget(key, 'state'));
  expect(['dispatching', 'running']).toContain(seen);
  await endOf(stores, id);
});

it('while the replica is missing nothing is started, and each job is started once when it is back', async () => {
  await runToEnd(stores, { host: 'plain', command: 'true' });
  await redis.replica.kill('SIGSTOP');
  const commands = [3, 4, 5].map((code) => `sh -c 'exit ${code}'`);
  const jobs: Job[] = [];
  for (const command of commands) jobs.push(await stores.submit(newJob({ host: 'plain', command })));
  const putBack = async () => {
    const events = await Promise.all(jobs.map(({ id }) => stores.jobs.events(id)));
    return events.flat().some(({ why }) => why.startsWith('nothing was sent'));
  };
  await until(putBack);
  // Looked at again and again meanwhile: that must neither start it nor fill its history.
  const looks = async () =>
    Number(/cmdstat_wait:calls=(\d+)/.exec(await stores.redis.info('commandstats'))?.[1]);
  const before = await looks();
  await until(async () => (await looks()) >= before + 3);
  for (const { id } of jobs) expect((await stores.jobs.events(id)).length).toBeLessThanOrEqual(3);
  for (const command of commands) expect(agent.startsOf(command)).toBe(0);
  await redis.replica.kill('SIGCONT');
  for (const [i, { id }] of jobs.entries()) {
    const ended = await endOf(stores, id);
    expect(ended).toMatchObject({ state: 'failed', attempt: 1, outcome: { return_code: 3 + i } });
  }
  for (const command of commands) expect(agent.startsOf(command)).toBe(1);
});

it('a Full agent gets no start either that the replica does not know of', async () => {
  const starts = async () => (await full.counters())[0]?.starts;
  await runToEnd(stores, { host: 'full', command: 'true' });
  await redis.replica.kill('SIGSTOP');
  const { id } = await stores.submit(newJob({ host: 'full', command: 'true' }));
  await until(async () =>
    (await stores.jobs.events(id)).some(({ why }) => why.startsWith('nothing was sent: replicas')),
  );
  expect(await starts()).toBe(1);
  await redis.replica.kill('SIGCONT');
  await endOf(stores, id);
  expect(await starts()).toBe(2);
});

it('a cancel while the replica is waited for ends the job: nothing was sent', async () => {
  await runToEnd(stores, { host: 'plain', command: 'true' });
  await redis.replica.kill('SIGSTOP');
  const { id } = await stores.submit(newJob({ host: 'plain', command: 'echo canceled' }));
  await stateOf(stores, id, 'dispatching');
  await stores.cancel(id, { signal: 'TERM', grace_seconds: 1, reason: null }, 'test');
  const job = await endOf(stores, id, 40_000);
  expect(job).toMatchObject({ state: 'canceled', started_at: null, outcome: { proof: null } });
  await redis.replica.kill('SIGCONT');
  await runToEnd(stores, { host: 'plain', command: 'true' });
  expect(agent.startsOf('echo canceled')).toBe(0);
});
