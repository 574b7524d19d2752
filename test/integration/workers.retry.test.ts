/** Running a command again, on the shipped agent and on Base agents: each attempt with a start of its own. */
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import type { Change } from '../../src/job/move.ts';
import type { Job, Retry } from '../../src/job/record.ts';
import { NO_OUTPUT, type Report } from '../../src/job/report.ts';
import { settle } from '../../src/job/settle.ts';
import type { Workers } from '../../src/workers/main.ts';
import { type BaseAgent, startBaseAgent } from '../helpers/base-agent.ts';
import { type RealAgent, startRealAgent } from '../helpers/real-agent.ts';
import { startRedis, type TestRedis } from '../helpers/redis.ts';
import { newJob, openStores, type Stores } from '../helpers/stores.ts';
import { until } from '../helpers/until.ts';
import { endOf, runToEnd, startTestWorkers, stateOf } from '../helpers/workers.ts';

const TWICE: Retry = { max_attempts: 2, backoff_seconds: 0, on: ['exit'] };
const LATER: Retry = { ...TWICE, backoff_seconds: 600 };

let redis: TestRedis;
let full: RealAgent;
let base: BaseAgent;
let stores: Stores;
let workers: Workers;

beforeAll(async () => {
  [redis, full, base] = await Promise.all([
    startRedis(),
    startRealAgent(),
    startBaseAgent({ generation: 'A', rate: null }),
  ]);
  stores = await openStores(redis.url);
  const { address, token, fingerprint } = base;
  const registered = { address: full.address, token: full.token, tls: { fingerprint: full.fingerprint } };
  await stores.hosts.put('full', { ...registered, max_jobs: 1 });
  await stores.hosts.put('launcher', { address, token, tls: { fingerprint } });
  workers = await startTestWorkers(redis.url, stores);
});
afterEach(async () => {
  await rm(log(), { force: true });
});
afterAll(async () => {
  await workers?.close();
  await stores?.close();
  await base?.close();
  await full?.stop();
  await redis?.stop();
});

const log = () => join(base.home, 'attempts');
/** Notes its launch token, says which attempt it is, and fails until the given one. */
const command = (until: number) =>
  `echo "$SLUICE_JOB_ID" >> ${log()}; n=$(wc -l < ${log()}); echo "attempt $n"; [ $n -ge ${until} ] || exit 3`;
const outputOf = async (id: string, attempt?: number) =>
  (await stores.jobs.tails(id, attempt))?.stdout.toString();
const statesOf = async (id: string) => (await stores.jobs.events(id)).map(({ state }) => state);
const counted = (host: string) => stores.redis.zcard(stores.keys.activeJobs(host));
const waitsAgain = (id: string) =>
  until(async () => {
    const job = await stores.jobs.get(id);
    return job?.state === 'queued' && job.attempt === 2 && job;
  });

describe.each(['full', 'launcher'])('a command that fails, with `retry`, on a host of kind %s', (host) => {
  it('is started again under a token of its own, with an output and an end of its own', async () => {
    const job = await runToEnd(stores, { host, command: command(2), retry: { ...TWICE, max_attempts: 5 } });
    expect(job).toMatchObject({ state: 'succeeded', attempt: 2, outcome: { return_code: 0 } });
    expect(job.attempts).toMatchObject([
      { attempt: 1, state: 'failed', outcome: { kind: 'exit', return_code: 3 }, stdout_bytes: 10 },
    ]);
    expect(await outputOf(job.id, 1)).toBe('attempt 1\n');
    expect(await outputOf(job.id)).toBe('attempt 2\n');
    expect(await readFile(log(), 'utf8')).toBe(`${job.id}-1\n${job.id}-2\n`);
    const first = job.attempts[0]?.ended_at as number;
    expect(job.started_at).toBeGreaterThanOrEqual(first);
  });

  it('ends as its last attempt ended, after as many as were asked for', async () => {
    const job = await runToEnd(stores, { host, command: command(9), retry: TWICE });
    expect(job).toMatchObject({ state: 'failed', attempt: 2, outcome: { kind: 'exit', return_code: 3 } });
    expect(await readFile(log(), 'utf8')).toBe(`${job.id}-1\n${job.id}-2\n`);
    const ends = (await statesOf(job.id)).filter((state) => state === 'failed');
    expect(ends).toHaveLength(1);
  });

  it('waits its pause as a queued job, which a cancel ends at once', async () => {
    const { id } = await stores.submit(newJob({ host, command: command(9), retry: LATER }));
    const waiting = await waitsAgain(id);
    expect(waiting).toMatchObject({ outcome: null, started_at: null, ended_at: null, started_by: null });
    expect(await stores.followed.of(host)).not.toContain(id);
    const canceled = await stores.cancel(id, { signal: 'TERM', grace_seconds: 1, reason: null }, 'test');
    expect(canceled).toMatchObject({ kind: 'canceled', job: { outcome: { kind: 'canceled' } } });
    expect(await readFile(log(), 'utf8')).toBe(`${id}-1\n`);
  });

  it('ends as its last attempt ended where the next one does not start in time', async () => {
    const { id } = await stores.submit(
      newJob({ host, command: command(9), retry: LATER, start_deadline_seconds: 600 }),
    );
    const waiting = await waitsAgain(id);
    const by = await stores.redis.zscore(stores.keys.deadlines, id);
    expect(Number(by)).toBe(Number(waiting.attempts[0]?.next_from) + 600_000);
    // As long ago as its pause and its deadline take together.
    const attempts = waiting.attempts.map((one) => ({ ...one, next_from: Date.now() - 601_000 }));
    await stores.jobs.note(waiting, { attempts });
    await stores.redis.zadd(stores.keys.deadlines, Date.now() - 1_000, id);
    const job = await endOf(stores, id);
    expect(job).toMatchObject({
      ...{ state: 'failed', attempt: 1, attempts: [], agent_job_id: waiting.attempts[0]?.agent_job_id },
      outcome: { kind: 'exit', return_code: 3 },
      ended_at: waiting.attempts[0]?.ended_at,
    });
    expect((await stores.jobs.events(id)).at(-1)?.why).toContain('attempt 2 was not started within 600 s');
    expect(await outputOf(id)).toBe('attempt 1\n');
    expect(await stores.redis.zscore(stores.keys.deadlines, id)).toBeNull();
    expect(await readFile(log(), 'utf8')).toBe(`${id}-1\n`);
  });

  it('is not started again after a cancel, though its cause is in `on`', async () => {
    const trap = 'trap "exit 3" TERM; echo ready; while :; do sleep 0.1; done';
    const { id } = await stores.submit(
      newJob({ host, command: trap, retry: { ...TWICE, on: ['exit', 'signal'] } }),
    );
    await stateOf(stores, id, 'running');
    await stores.cancel(id, { signal: 'TERM', grace_seconds: 5, reason: null }, 'test');
    expect(await endOf(stores, id)).toMatchObject({ attempt: 1, attempts: [] });
  });

  it('is started again after its timeout only where `on` says so', async () => {
    const fields = { host, command: 'sleep 30', timeout_seconds: 1 };
    const once = await runToEnd(stores, { ...fields, retry: { ...TWICE, on: ['exit', 'signal'] } });
    expect(once).toMatchObject({ state: 'timed_out', attempt: 1 });
    const twice = await runToEnd(stores, { ...fields, retry: { ...TWICE, on: ['timeout'] } }, 40_000);
    expect(twice).toMatchObject({ state: 'timed_out', attempt: 2, attempts: [{ state: 'timed_out' }] });
  });
});

describe('a host that is rebooted under a command', () => {
  const boot = (digit: string) => `${digit.repeat(8)}-1111-4111-8111-111111111111\n`;
  let scratch: string;
  let agent: RealAgent;
  beforeAll(async () => {
    scratch = await mkdtemp(join(tmpdir(), 'retry-'));
    await writeFile(join(scratch, 'boot_id'), boot('1'));
    agent = await startRealAgent({ args: ['--boot-id-file', join(scratch, 'boot_id')] });
    const { address, token, fingerprint } = agent;
    await stores.hosts.put('rebooted', { address, token, tls: { fingerprint } });
  });
  afterAll(async () => {
    await agent?.stop();
    await rm(scratch, { recursive: true, force: true });
  });

  /** The process and what the agent has put above it, the uppermost first: nobody is to record its end. */
  async function withSupervisors(pid: number): Promise<number[]> {
    const above = Number(/^PPid:\s+(\d+)$/m.exec(await readFile(`/proc/${pid}/status`, 'utf8'))?.[1]);
    const program = await readFile(`/proc/${above}/cmdline`, 'utf8');
    return /(supervisor|inner)\.sh/.test(program) ? [...(await withSupervisors(above)), pid] : [pid];
  }

  /** Starts it, and reboots its host once it runs. */
  async function rebootUnder(on: Retry['on'], digit: string): Promise<Job> {
    const command = `echo $$ >> ${log()}; [ $(wc -l < ${log()}) -ge 2 ] || exec sleep 300`;
    const { id } = await stores.submit(
      newJob({ host: 'rebooted', command, poll_interval: 1, retry: { ...TWICE, on } }),
    );
    await stateOf(stores, id, 'running');
    const pid = Number(await until(() => readFile(log(), 'utf8').catch(() => '')));
    await agent.kill('SIGKILL');
    for (const one of await withSupervisors(pid)) process.kill(one, 'SIGKILL');
    await writeFile(join(scratch, 'boot_id'), boot(digit));
    await agent.restart();
    return endOf(stores, id, 45_000);
  }

  it('is started again there where `on` says `reboot`', async () => {
    expect(await rebootUnder(['reboot'], '2')).toMatchObject({
      ...{ state: 'succeeded', attempt: 2 },
      attempts: [{ attempt: 1, state: 'lost', outcome: { kind: 'reboot' } }],
    });
  });

  it('is lost where it does not', async () => {
    expect(await rebootUnder(['exit', 'signal', 'timeout', 'spawn_error'], '3')).toMatchObject({
      ...{ state: 'lost', attempt: 1, outcome: { kind: 'reboot' } },
    });
  });
});

it('an attempt that has to wait leaves its place under `max_jobs` to another job', async () => {
  const { id } = await stores.submit(newJob({ host: 'full', command: command(9), retry: LATER }));
  await waitsAgain(id);
  expect(await counted('full')).toBe(0);
  expect(await runToEnd(stores, { host: 'full', command: 'true' })).toMatchObject({ state: 'succeeded' });
  await stores.cancel(id, { signal: 'TERM', grace_seconds: 1, reason: null }, 'test');
});

it('whoever is told of ends hears of the last attempt only', async () => {
  const callback_url = 'https://example.invalid/';
  const told = () => stores.redis.lrange(stores.keys.outbox, 0, -1);
  await workers.close();
  try {
    const job = (await stores.submit(
      newJob({ host: 'full', command: 'x', callback_url, retry: TWICE }),
    )) as Job;
    const started = { attempt: 1, started_by: 'full' as const, why: 'starting attempt 1' };
    const dispatching = (await stores.jobs.transition(job, 'queued', 'dispatching', started)) as Job;
    const report: Report = {
      ...NO_OUTPUT,
      kind: 'ended',
      reason: 'exit',
      return_code: 3,
      signal: null,
      message: null,
      started_at: null,
      ended_at: null,
      proof: null,
      remaining_pids: [],
      leftover_processes: null,
    };
    const now = await stores.jobs.now();
    const first = settle(dispatching, report, { now, skewMs: 0 });
    const again = (await stores.jobs.transition(
      dispatching,
      'dispatching',
      'queued',
      first?.change as Change,
    )) as Job;
    expect(await told()).toEqual([]);
    const more = { attempt: 2, started_by: 'full' as const, why: 'starting attempt 2' };
    const second = (await stores.jobs.transition(again, 'queued', 'dispatching', more)) as Job;
    const last = settle(second, report, { now, skewMs: 0 });
    await stores.jobs.transition(second, 'dispatching', last?.to as 'failed', last?.change as Change);
    expect((await told()).map((text) => JSON.parse(text).type)).toEqual(['job.failed']);
  } finally {
    workers = await startTestWorkers(redis.url, stores);
  }
});
