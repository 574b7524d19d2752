import { mkdtemp, readFile, rm, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest';
import type { DialHost } from '../../src/job/agent-port.ts';
import { type Job, launchToken } from '../../src/job/record.ts';
import { createAgentPort, type RequestEvent } from '../../src/net/agents.ts';
import { dialHost, failureOf, someJob, startOrder } from '../helpers/agent-port.ts';
import { type BaseAgent, type Generation, startBaseAgent } from '../helpers/base-agent.ts';
import { until } from '../helpers/until.ts';

const events: RequestEvent[] = [];
const port = createAgentPort({ onRequest: (event) => events.push(event) });
/** Believes no agent's `running`: every question about a running job reaches the launcher. */
const wary = createAgentPort({ believeRunningMs: 0 });
const CANCEL = { signal: 'TERM', grace_seconds: 1, reason: null };

afterEach(() => {
  events.length = 0;
});
afterAll(async () => {
  await port.close();
  await wary.close();
});

describe.each(['A', 'B', 'C'] as Generation[])('generation %s', (generation) => {
  let agent: BaseAgent;
  let host: DialHost;
  let directory: string;

  beforeAll(async () => {
    agent = await startBaseAgent({ generation });
    host = dialHost(agent);
    directory = (await port.prepare(host, (await port.ping(host)).facts, null)) ?? '';
  });
  afterEach(() => agent.mend());
  afterAll(() => agent.close());

  const launched = (command: string, more: Partial<Job> = {}) =>
    someJob({ command, started_by: 'base+launcher', launcher_dir: directory, ...more });
  /** Started: the record carries the agent's own id from here on. */
  async function start(job: Job, env: Record<string, string> = {}): Promise<Job> {
    const { agent_job_id } = await port.start(host, startOrder(job, { env }));
    return { ...job, agent_job_id };
  }
  const ask = async (job: Job, by = port) => (await by.ask(host, [job])).reports.get(job.id);
  const end = (job: Job) =>
    until(async () => {
      const said = await ask(job);
      return said?.kind === 'ended' && said;
    });
  const running = (job: Job) =>
    until(async () => {
      const said = await ask(job, wary);
      return said?.kind === 'running' && said.started_at !== null;
    });

  test("the probe proves a directory of the user's own", () => {
    expect(directory.startsWith(join(agent.home, '.sluice/'))).toBe(true);
  });

  test('the exact code and output of a command that Base would get wrong', async () => {
    const job = await start(launched('echo "$A"; pwd; printf "\\377" >&2; exit 3', { workdir: '/tmp' }), {
      A: 'a b',
    });
    const report = await end(job);
    expect(report).toMatchObject({ reason: 'exit', return_code: 3, stdout_bytes: 9, stderr_bytes: 1 });
    expect(report.stdout_tail?.toString()).toBe('a b\n/tmp\n');
    expect(report.stderr_tail).toEqual(Buffer.from([0xff]));
    expect(report.ended_at).toBeGreaterThan(Date.now() - 60_000);
  });

  test('the same start sent twice starts the command once, and both end as it does', async () => {
    const mark = join(agent.home, `twice-${generation}`);
    const order = startOrder(launched(`echo x >> ${mark}; sleep 0.5; exit 4`));
    agent.fault('/run', { kind: 'reset', when: 'after' });
    expect(await failureOf(port.start(host, order))).toMatchObject({ code: 'agent_reply_lost' });
    const job = await start(order.job);
    expect(await end(job)).toMatchObject({ reason: 'exit', return_code: 4 });
    expect(await readFile(mark, 'utf8')).toBe('x\n');
  });

  test('the timeout is kept by the host', async () => {
    const job = await start(launched('sleep 60', { timeout_seconds: 1 }));
    expect(await end(job)).toMatchObject({ reason: 'timeout', return_code: null });
  });

  test('a job that its agent has forgotten is still known to the launcher', async () => {
    const mark = join(agent.home, `forgotten-${generation}`);
    const job = await start(launched(`while [ ! -e ${mark} ]; do sleep 0.1; done; echo out; exit 5`));
    await running(job);
    await agent.forgetJobs();
    expect(await ask(job)).toMatchObject({ kind: 'running', started_at: expect.any(Number) });
    await writeFile(mark, '');
    const report = await end(job);
    expect(report).toMatchObject({ reason: 'exit', return_code: 5 });
    expect(report.stdout_tail?.toString()).toBe('out\n');
  });

  test('a reboot is seen through an agent that says running for ever', async () => {
    const job = await start(launched('sleep 60'));
    await running(job);
    const latch = join(directory, launchToken(job), 'go');
    const [boot = '', ...rest] = (await readFile(latch, 'utf8')).split(' ');
    await writeFile(latch, [boot.replace(/^.{8}/, '00000000'), ...rest].join(' '));
    expect(await ask(job)).toMatchObject({ kind: 'running' });
    const said = await until(async () => {
      const report = await ask(job, wary);
      return report?.kind === 'vanished' && report;
    });
    expect(said).toMatchObject({ kind: 'vanished', reason: 'reboot' });
    await writeFile(latch, [boot, ...rest].join(' '));
    await port.cancel(host, job, CANCEL);
  });

  test('a token never seen is unknown', async () => {
    expect(await ask(launched('true'))).toEqual({ kind: 'unknown', message: null });
  });

  test('unknown says nothing yet of a job that was taken a moment ago', async () => {
    const taken = launched('true', { state: 'running', dispatched_at: Date.now() });
    const before = launched('true', { state: 'running', dispatched_at: Date.now() - 120_000 });
    const { reports } = await port.ask(host, [taken, before]);
    expect(reports.get(taken.id)).toMatchObject({ kind: 'running' });
    expect(reports.get(before.id)).toMatchObject({ kind: 'unknown' });
  });

  test('a burst of starts pays for one probe', async () => {
    const { facts } = await port.ping(host);
    const found = await Promise.all([1, 2, 3].map(() => port.prepare(host, facts, null)));
    expect(found).toEqual([directory, directory, directory]);
    expect(events.filter(({ what }) => what === 'run').length).toBeLessThanOrEqual(1);
  });

  test('many jobs of one user are one verb, whatever became of each', async () => {
    const jobs = [await start(launched('exit 7')), await start(launched('sleep 60'))];
    await end(jobs[0]!);
    await running(jobs[1]!);
    jobs.push(launched('true'), launched('true'), launched('true'));
    events.length = 0;
    const { reports, errors } = await port.ask(host, jobs);
    expect(errors.size).toBe(0);
    expect(reports.get(jobs[0]!.id)).toMatchObject({ kind: 'ended', return_code: 7 });
    expect(reports.get(jobs[1]!.id)).toMatchObject({ kind: 'running' });
    expect(reports.get(jobs[2]!.id)).toMatchObject({ kind: 'unknown' });
    // One verb, and one more for those that it did not know.
    expect(events.filter(({ what }) => what === 'run')).toHaveLength(2);
    await port.cancel(host, jobs[1]!, CANCEL);
  });

  test('cancel ends the whole tree and proves it', async () => {
    const job = await start(launched('trap "" TERM; sleep 60 & sleep 60 & wait'));
    await running(job);
    const { report, unproven } = await port.cancel(host, job, CANCEL);
    expect(unproven).toBe(false);
    expect(report).toMatchObject({
      kind: 'ended',
      reason: 'canceled',
      proof: 'group+marker',
      remaining_pids: [],
    });
  });

  test('cancel before the start leaves a tombstone: a start that comes late starts nothing', async () => {
    const mark = join(agent.home, `late-${generation}`);
    const job = launched(`echo x > ${mark}`);
    const { report } = await port.cancel(host, job, CANCEL);
    expect(report).toMatchObject({ kind: 'ended', reason: 'canceled', return_code: null });
    expect(await end(await start(job))).toMatchObject({ reason: 'canceled' });
    await expect(readFile(mark)).rejects.toThrow('ENOENT');
  });

  test('any range of the output is exact, text or not, while it runs and after', async () => {
    const job = await start(launched('printf "a\\377b\\000c"; sleep 60'));
    await running(job);
    const range = { stream: 'stdout' as const, offset: 1, limit: 3, attempt: 1 };
    const part = await until(async () => {
      const read = await port.read(host, job, range);
      return read.data.length === 3 && read;
    });
    expect(part).toEqual({ data: Buffer.from([0xff, 0x62, 0]), next: 4, eof: false });
    await port.cancel(host, job, CANCEL);
    expect(await port.read(host, job, { ...range, offset: 4, limit: 100 })).toEqual({
      data: Buffer.from('c'),
      next: 5,
      eof: true,
    });
  });

  test('a field that the host refuses fails the job with the reason, and starts nothing', async () => {
    const job = await start(launched('true', { workdir: '/no/such/directory' }));
    expect(await end(job)).toMatchObject({
      reason: 'spawn_error',
      message: 'the working directory cannot be entered',
    });
  });

  test('a directory that is gone starts nothing, and nothing is claimed about an earlier start', async () => {
    const job = await start(launched('true', { launcher_dir: `${directory}-gone` }));
    const report = await until(async () => {
      const said = await ask(job);
      return said?.kind === 'unknown' && said;
    });
    expect(report.message).toContain('dir_missing');
    // A cancel there leaves no tombstone, so it proves nothing either.
    expect(await failureOf(port.cancel(host, job, CANCEL))).toMatchObject({ code: 'agent_store_changed' });
  });

  test('a cancel that finds no room for its tombstone is no proof that nothing will start', async () => {
    const job = launched('true');
    const inTheWay = join(directory, launchToken(job));
    await writeFile(inTheWay, '');
    expect(await failureOf(port.cancel(host, job, CANCEL))).toMatchObject({ code: 'agent_unfit' });
    await rm(inTheWay);
    const { report } = await port.cancel(host, job, CANCEL);
    expect(report).toMatchObject({ kind: 'ended', reason: 'canceled' });
  });

  test('a cancel in a directory that became a link is not delivered', async () => {
    const link = `${directory}-link`;
    await symlink(directory, link);
    const job = launched('true', { launcher_dir: link });
    expect(await failureOf(port.cancel(host, job, CANCEL))).toMatchObject({ code: 'agent_failed' });
  });

  test('a job in tmux mode is followed like any other', async () => {
    const job = await start(launched('echo in the pane; exit 6', { mode: 'tmux' }));
    const report = await end(job);
    expect(report).toMatchObject({ reason: 'exit', return_code: 6 });
    expect(report.stdout_tail?.toString()).toBe('in the pane\n');
  });

  test('an agent that asks to wait in the middle of a verb is busy, and the verb can be repeated', async () => {
    const job = await start(launched('sleep 60'));
    await running(job);
    agent.fault('/status', { kind: 'reply', status: 429, body: '{"error":"rate_limited"}' });
    expect(await failureOf(port.cancel(host, job, CANCEL))).toMatchObject({
      code: 'agent_busy',
      retry: 'safe',
      fields: { retry_after: 15 },
    });
    const { report } = await port.cancel(host, job, CANCEL);
    expect(report).toMatchObject({ kind: 'ended', reason: 'canceled' });
  });

  test('one bad look at a verb is not the end of it', async () => {
    agent.fault('/status', { kind: 'reply', status: 500, body: 'Internal Server Error', type: 'text/plain' });
    const { report } = await port.cancel(host, launched('true'), CANCEL);
    expect(report).toMatchObject({ kind: 'ended', reason: 'canceled' });
  });

  test("a user that the host does not have is the job's trouble", async () => {
    const { facts } = await port.ping(host);
    const error = await failureOf(port.prepare(host, facts, 'nobody-by-this-name'));
    expect(error).toMatchObject({ code: 'agent_rejected', fields: { agent_code: 'launcher' } });
  });

  test.each([
    ['a command that is too long', { command: 'x'.repeat(200_000) }],
    ['a shell that is no path', { shell: 'bash' }],
  ])('%s is refused before anything is sent', async (_, more) => {
    const error = await failureOf(port.start(host, startOrder(launched('true', more))));
    expect(error).toMatchObject({ code: 'agent_rejected', fields: { agent_code: 'launcher_input' } });
    expect(events).toEqual([]);
  });
});

test("a launcher whose words found no room on the agent's disk is the host's trouble", async () => {
  const agent = await startBaseAgent({ generation: 'B' });
  try {
    const host = dialHost(agent);
    const { facts } = await port.ping(host);
    const empty = { status: 'finished', return_code: 125, stdout: '', stderr: '' };
    agent.fault('/status', { kind: 'reply', status: 200, body: JSON.stringify({ job_id: 'x', ...empty }) });
    expect(await failureOf(port.prepare(host, facts, null))).toMatchObject({ code: 'agent_unfit' });
    expect(await port.prepare(host, facts, null)).toContain('/.sluice/');
  } finally {
    await agent.close();
  }
});

test('a host that lacks the tools of the launcher says which when it is prepared', async () => {
  const few = await mkdtemp(join(tmpdir(), 'few-tools-'));
  for (const tool of ['bash', 'sh']) await symlink(`/bin/${tool}`, join(few, tool));
  const agent = await startBaseAgent({ generation: 'A', env: { PATH: few } });
  try {
    const host = dialHost(agent);
    const error = await failureOf(port.prepare(host, (await port.ping(host)).facts, null));
    expect(error).toMatchObject({ code: 'agent_unfit', retry: 'safe' });
    expect(error.message).toMatch(/missing .*setsid/);
  } finally {
    await agent.close();
    await rm(few, { recursive: true, force: true });
  }
});
