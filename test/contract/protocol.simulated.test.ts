/** The simulated agents of the tests and benchmarks, asked by the gateway's own client. */
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { launchToken } from '../../src/job/record.ts';
import { createAgentPort } from '../../src/net/agents.ts';
import { dialHost, someJob, startOrder } from '../helpers/agent-port.ts';
import { type SimulatedFleet, startSimulatedAgents } from '../helpers/simulated-agents.ts';
import { until } from '../helpers/until.ts';

describe.each([{ tls: true }, { tls: false }])('simulated agents, tls: $tls', ({ tls }) => {
  const agents = createAgentPort();
  let fleet: SimulatedFleet;
  const host = (i: number) => {
    const { name, address, token, tls: trust } = fleet.hosts[i]!;
    return dialHost({ address, token, fingerprint: '' }, { name, tls: trust });
  };
  const seen = async (i: number) => (await fleet.counters())[i]!;

  beforeAll(async () => {
    fleet = await startSimulatedAgents({ hosts: 5, tls, delayMs: [1, 5], silentMs: 100 });
  });
  afterAll(async () => {
    await agents.close();
    await fleet.stop();
  });

  test('a start is executed once, however often it is sent', async () => {
    const order = startOrder(someJob());
    const first = await agents.start(host(0), order);
    const second = await agents.start(host(0), order);
    expect(first).toMatchObject({ existing: false, report: { kind: 'ended', return_code: 0 } });
    expect(second).toMatchObject({ existing: true, report: { kind: 'ended' } });
    expect(await seen(0)).toMatchObject({ starts: 1, repeated: 1, requests: { run: 2 } });
    expect(await fleet.startedTwice()).toEqual([]);
  });

  test('a job that was executed under two tokens is named', async () => {
    const job = someJob();
    await agents.start(host(0), startOrder(job));
    await agents.start(host(3), startOrder({ ...job, attempt: 2 }));
    expect(await fleet.startedTwice()).toEqual([job.id]);
    await fleet.reset();
  });

  test('a held question is answered when a job ends, and counted apart', async () => {
    const job = someJob({ command: 'sleep 0.3', state: 'running' });
    await agents.start(host(1), startOrder(job));
    const hold = (cursor: string | null, seconds: number) =>
      agents.ask(host(1), [job], { seconds, cursor, signal: new AbortController().signal });
    const before = await hold(null, 0);
    expect(before.reports.get(job.id)).toMatchObject({ kind: 'running' });
    const after = await hold(before.cursor, 20);
    expect(after.reports.get(job.id)).toMatchObject({ kind: 'ended', return_code: 0 });
    expect(await seen(1)).toMatchObject({ mostAtOnce: 1, mostHeldAtOnce: 1, mostRunning: 1, running: 0 });
  });

  test('a cancel ends a job, and keeps one that was never started from starting', async () => {
    const order = { signal: 'TERM', grace_seconds: 0, reason: 'user' };
    const job = someJob({ command: 'sleep 60', state: 'running' });
    await agents.start(host(2), startOrder(job));
    const { report } = await agents.cancel(host(2), job, order);
    expect(report).toMatchObject({ kind: 'ended', reason: 'canceled' });
    const late = someJob();
    await agents.cancel(host(2), late, order);
    await expect(agents.start(host(2), startOrder(late))).rejects.toMatchObject({
      code: 'agent_canceled_before_start',
    });
    expect((await fleet.starts())[2]!.map(({ token }) => token)).toEqual([launchToken(job)]);
  });

  test('a silent host takes a start, executes nothing and breaks the connection', async () => {
    await fleet.silence([4]);
    await expect(agents.start(host(4), startOrder(someJob()))).rejects.toMatchObject({
      code: 'agent_reply_lost',
    });
    expect(await seen(4)).toMatchObject({ starts: 0, requests: { run: 1 } });
    await fleet.revive([4]);
    await agents.start(host(4), startOrder(someJob()));
    expect(await seen(4)).toMatchObject({ starts: 1, requests: { run: 2 } });
  });

  test('requests at once and in a period are the most there were', async () => {
    await fleet.reset();
    const order = () => startOrder(someJob({ command: 'sleep 0.2' }), { wait_seconds: 1 });
    await Promise.all([1, 2, 3].map(() => agents.start(host(3), order())));
    await until(async () => (await seen(3)).running === 0);
    expect(await seen(3)).toMatchObject({ mostAtOnce: 3, mostInPeriod: 3, mostRunning: 3 });
  });
});
