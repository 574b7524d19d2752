/** The workers with agents of each Base generation, through the launcher and without it. */
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { Job } from '../../src/job/record.ts';
import { MAX_ATTEMPTS } from '../../src/job/retry.ts';
import type { Workers } from '../../src/workers/main.ts';
import { type BaseAgent, startBaseAgent } from '../helpers/base-agent.ts';
import { startRedis, type TestRedis } from '../helpers/redis.ts';
import { newJob, openStores, type Stores } from '../helpers/stores.ts';
import { until } from '../helpers/until.ts';
import { endOf, runToEnd, startTestWorkers, stateOf } from '../helpers/workers.ts';

let redis: TestRedis;
let stores: Stores;
let workers: Workers;
const agents = new Map<string, BaseAgent>();

beforeAll(async () => {
  redis = await startRedis();
  stores = await openStores(redis.url);
  for (const generation of ['A', 'B', 'C'] as const) {
    const agent = await startBaseAgent({ generation, rate: null });
    agents.set(generation, agent);
    const { address, token, fingerprint } = agent;
    await stores.hosts.put(generation, { address, token, tls: { fingerprint } });
  }
  workers = await startTestWorkers(redis.url, stores);
});

afterAll(async () => {
  await workers?.close();
  for (const agent of agents.values()) await agent.close();
  await stores?.close();
  await redis?.stop();
});

const agentOf = (generation: string) => agents.get(generation) as BaseAgent;

describe.each(['A', 'B', 'C'])('a job on a Base agent of generation %s', (generation) => {
  it.each(['sync', 'async', 'tmux'] as const)(
    'in mode %s has its own code and all of its output',
    async (mode) => {
      const job = await runToEnd(stores, {
        host: generation,
        mode,
        command: 'echo one; echo two >&2; sleep 0.2; exit 3',
      });
      expect(job).toMatchObject({
        state: 'failed',
        started_by: 'base+launcher',
        outcome: { return_code: 3 },
      });
      const tails = await stores.jobs.tails(job.id);
      expect(tails?.stdout.toString()).toBe('one\n');
      expect(tails?.stderr.toString()).toBe('two\n');
    },
  );

  it('whose start was answered by a broken connection is started once', async () => {
    const agent = agentOf(generation);
    await runToEnd(stores, { host: generation, command: 'true' });
    agent.fault('/run', { kind: 'reset', when: 'after' });
    const file = `${agent.home}/starts-${generation}`;
    const job = await runToEnd(stores, {
      host: generation,
      command: `echo started >> ${file}; sleep 0.5; cat ${file}`,
    });
    expect(job).toMatchObject({ state: 'succeeded', attempt: 1 });
    expect((await stores.jobs.tails(job.id))?.stdout.toString()).toBe('started\n');
  });

  it('is canceled, and its processes are gone', async () => {
    const { id } = await stores.submit(
      newJob({ host: generation, command: 'trap "" TERM; sleep 300 & sleep 300' }),
    );
    await stateOf(stores, id, 'running');
    await stores.cancel(id, { signal: 'TERM', grace_seconds: 1, reason: null }, 'test');
    expect(await endOf(stores, id)).toMatchObject({
      state: 'canceled',
      outcome: { kind: 'canceled', proof: 'group+marker' },
    });
  });

  it('waits while the agent answers 503, and is started under the same token', async () => {
    const busy = { kind: 'reply', status: 503, headers: { 'retry-after': '1' } } as const;
    agentOf(generation).fault('/run', busy);
    const job = await runToEnd(stores, { host: generation, command: 'true' });
    expect(job).toMatchObject({ state: 'succeeded', attempt: 1 });
  });
});

it('never has more requests under way to an agent than the host says, whatever they are for', async () => {
  const agent = await startBaseAgent({ generation: 'C', rate: null });
  const { address, token, fingerprint } = agent;
  await stores.hosts.put('narrow', { address, token, tls: { fingerprint }, max_requests: 2 });
  const submitted = [];
  for (let i = 0; i < 12; i++) {
    submitted.push(
      await stores.submit(
        newJob({ host: 'narrow', command: `sleep 0.${i % 4}; echo ${i}`, poll_interval: 1 }),
      ),
    );
  }
  const doomed = await stores.submit(newJob({ host: 'narrow', command: 'sleep 300' }));
  await stateOf(stores, doomed.id, 'running');
  await stores.cancel(doomed.id, { signal: 'TERM', grace_seconds: 1, reason: null }, 'test');
  for (const { id } of [...submitted, doomed]) await endOf(stores, id, 30_000);
  expect(agent.mostSimultaneous).toBeLessThanOrEqual(2);
  await agent.close();
});

it('a host that refuses the token is misconfigured, and its job goes on when it is mended', async () => {
  const agent = agentOf('C');
  agent.refuseToken();
  const { id } = await stores.submit(newJob({ host: 'C', command: 'echo mended' }));
  await until(async () => (await stores.hosts.health('C')).status === 'misconfigured');
  await stateOf(stores, id, 'queued');
  agent.mend();
  expect(await endOf(stores, id, 30_000)).toMatchObject({ state: 'succeeded' });
  expect(await stores.hosts.health('C')).toMatchObject({ status: 'up', cause: null });
});

it('a running job of a host that falls silent is unreachable, and takes its true state afterwards', async () => {
  const agent = agentOf('A');
  const { id } = await stores.submit(newJob({ host: 'A', command: 'sleep 1; exit 4', poll_interval: 1 }));
  await stateOf(stores, id, 'running');
  await agent.stopListening();
  await stateOf(stores, id, 'unreachable');
  await agent.startListening();
  expect(await endOf(stores, id, 30_000)).toMatchObject({ state: 'failed', outcome: { return_code: 4 } });
});

it('without the launcher an ambiguous start ends lost, and nothing is started a second time', async () => {
  const agent = agentOf('A');
  await stores.hosts.put('A', { launcher: false });
  agent.fault('/run', { kind: 'reset', when: 'after' });
  const job = await runToEnd(stores, { host: 'A', command: 'echo plain' });
  expect(job).toMatchObject({ state: 'lost', started_by: 'base', outcome: { kind: 'ambiguous_start' } });
  expect(agent.startsOf('echo plain')).toBe(1);
  await stores.hosts.put('A', { launcher: true });
});

it('a start that nobody can settle is made anew on request, but not without end', async () => {
  const agent = agentOf('A');
  await stores.hosts.put('A', { launcher: false });
  const command = 'echo without end';
  const request = { host: 'A', command, on_ambiguous_start: 'retry' as const };
  // Later: the workers leave it alone until it stands before its last attempt.
  const waiting = await stores.submit(newJob({ ...request, not_before: Date.now() + 3_600_000 }));
  const why = 'many times over';
  const last = { attempt: MAX_ATTEMPTS, why };
  const begun = (await stores.jobs.transition(waiting, 'queued', 'dispatching', last)) as Job;
  agent.fault('/run', { kind: 'reset', when: 'after' });
  await stores.jobs.transition(begun, 'dispatching', 'queued', { eligible_at: Date.now(), why });
  await stores.wake.dispatch('A');
  const job = await endOf(stores, waiting.id);
  expect(job).toMatchObject({
    ...{ state: 'lost', attempt: MAX_ATTEMPTS },
    outcome: { kind: 'ambiguous_start' },
  });
  expect(agent.startsOf(command)).toBe(1);
  await stores.hosts.put('A', { launcher: true });
});

describe('a plain Base agent, without the launcher', () => {
  beforeAll(async () => {
    await stores.hosts.put('A', { launcher: false });
  });
  afterAll(async () => {
    await stores.hosts.put('A', { launcher: true });
  });

  it('has its timeouts kept by the gateway, which does not claim a proof', async () => {
    const job = await runToEnd(stores, {
      host: 'A',
      command: 'sleep 30',
      timeout_seconds: 1,
      poll_interval: 1,
    });
    expect(job).toMatchObject({
      state: 'timed_out',
      outcome: { kind: 'timeout', return_code: null, proof: 'none' },
    });
  });

  it('with more output than a reply may hold keeps no tail, and says of what it keeps that it was cut', async () => {
    const { id } = await runToEnd(stores, { host: 'A', mode: 'sync', command: 'seq 1 300000' });
    expect(await stores.jobs.tails(id)).toBeNull();
    const kept = await stores.jobs.output(id);
    expect(kept?.stdout.toString()).toMatch(/^1\n2\n3\n/);
    expect(kept).toMatchObject({ truncated: true });
  });

  it('that can answer no question about a job makes the job unreachable, not failed, and itself not down', async () => {
    const command = "sleep 0.3; printf '\\377\\376'";
    const { id } = await stores.submit(
      newJob({ host: 'A', command, poll_interval: 1, lost_after_seconds: 3 }),
    );
    await stateOf(stores, id, 'unreachable');
    expect(await stores.hosts.health('A')).toMatchObject({ status: 'up' });
    expect(await endOf(stores, id)).toMatchObject({ state: 'lost', outcome: { kind: 'silent' } });
  });
});
