import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest';
import type { DialHost } from '../../src/job/agent-port.ts';
import type { Job } from '../../src/job/record.ts';
import { createAgentPort, type RequestEvent } from '../../src/net/agents.ts';
import {
  dialHost,
  failureOf,
  httpReply,
  someJob,
  startOrder,
  startRawServer,
} from '../helpers/agent-port.ts';
import { type BaseAgent, type Generation, startBaseAgent } from '../helpers/base-agent.ts';
import { until } from '../helpers/until.ts';

const events: RequestEvent[] = [];
const port = createAgentPort({
  limits: { headersMs: 1_000, totalMs: 3_000 },
  onRequest: (event) => events.push(event),
});
const CANCEL = { signal: 'TERM', grace_seconds: 1, reason: null };

afterEach(() => {
  events.length = 0;
});
afterAll(() => port.close());

const baseJob = (more: Partial<Job> = {}) => someJob({ started_by: 'base', ...more });

describe.each(['A', 'B', 'C'] as Generation[])('generation %s', (generation) => {
  let agent: BaseAgent;
  let host: DialHost;

  beforeAll(async () => {
    agent = await startBaseAgent({ generation });
    host = dialHost(agent, { launcher: false });
  });
  afterEach(() => agent.mend());
  afterAll(() => agent.close());

  const ask = async (job: Job) => (await port.ask(host, [job])).reports.get(job.id);
  /** Started: the record carries the agent's own id from here on. */
  async function start(more: Partial<Job> = {}): Promise<Job> {
    const job = baseJob(more);
    const { agent_job_id, report } = await port.start(host, startOrder(job));
    expect(report).toMatchObject({ kind: 'running' });
    return { ...job, agent_job_id };
  }

  test('ping tells a Base agent', async () => {
    const { facts, fingerprint } = await port.ping(host);
    expect(facts).toMatchObject({ kind: 'base', protocol: null, capabilities: [], users: null });
    expect(Math.abs(facts.clock_skew_ms)).toBeLessThan(5_000);
    expect(fingerprint).toBe(agent.fingerprint);
  });

  test('without the launcher there is no directory to prepare', async () => {
    expect(await port.prepare(host, (await port.ping(host)).facts, null)).toBeNull();
  });

  test('a job is followed to its code and its output', async () => {
    const job = await start({ command: 'sleep 0.3; (exit 3)' });
    expect(await ask(job)).toMatchObject({ kind: 'running' });
    const report = await until(async () => {
      const said = await ask(job);
      return said?.kind === 'ended' && said;
    });
    expect(report).toMatchObject({ reason: 'exit', return_code: 3, proof: 'none', stdout_bytes: 0 });
  });

  test('the end of a short job carries its output, and any range of it can be read', async () => {
    const job = await start({ command: 'echo one two three' });
    const report = await until(async () => {
      const said = await ask(job);
      return said?.kind === 'ended' && said;
    });
    expect(report.stdout_tail?.toString()).toBe('one two three\n');
    const range = { stream: 'stdout' as const, offset: 4, limit: 3, attempt: 1 };
    expect(await port.read(host, job, range)).toEqual({ data: Buffer.from('two'), next: 7, eof: false });
    expect(await port.read(host, job, { ...range, offset: 8, limit: 100 })).toEqual({
      data: Buffer.from('three\n'),
      next: 14,
      eof: true,
    });
    const gone = port.read(host, job, { ...range, attempt: 2 });
    expect(await failureOf(gone)).toMatchObject({ code: 'output_gone' });
  });

  test('a job that the agent does not know is unknown, after a second look', async () => {
    expect(await ask(baseJob())).toEqual({ kind: 'unknown', message: null });
    expect(events.filter(({ what }) => what === 'status')).toHaveLength(2);
  });

  test('unknown says nothing yet of a job that was taken a moment ago', async () => {
    const taken = baseJob({ state: 'running', dispatched_at: Date.now() });
    expect(await ask(taken)).toMatchObject({ kind: 'running' });
  });

  test('a cancel is passed on, and called unproven', async () => {
    const job = await start({ command: 'sleep 30', mode: 'tmux' });
    const { report, unproven } = await port.cancel(host, job, CANCEL);
    expect(unproven).toBe(true);
    expect(report).toMatchObject({ kind: 'ended', reason: 'canceled', proof: 'none' });
  });

  test('jobs are asked about one after another', async () => {
    const jobs = [baseJob({ agent_job_id: 'x1' }), baseJob({ agent_job_id: 'x2' }), await start()];
    const before = agent.mostSimultaneous;
    await port.ask(host, jobs);
    expect(agent.mostSimultaneous).toBe(before);
  });

  test.each([
    ['shell', { shell: '/bin/dash' }],
    ['workdir', { workdir: '/tmp' }],
  ])('%s is refused, because it would be ignored', async (field, more) => {
    const error = await failureOf(port.start(host, startOrder(baseJob(more))));
    expect(error).toMatchObject({ code: 'agent_rejected', fields: { field } });
    expect(events).toEqual([]);
  });

  test('secret_env is refused, because it would be seen', async () => {
    const order = startOrder(baseJob(), { secret_env: { A: 'b' } });
    expect(await failureOf(port.start(host, order))).toMatchObject({ code: 'agent_rejected' });
  });

  test('a wrong token is told as such, however the generation says it', async () => {
    agent.refuseToken();
    expect(await failureOf(port.ping(host))).toMatchObject({ code: 'agent_token_refused' });
    const started = await failureOf(port.start(host, startOrder(baseJob())));
    expect(started).toMatchObject({ code: 'agent_token_refused', retry: 'safe' });
  });

  test('a start whose reply is lost may have happened', async () => {
    const order = startOrder(baseJob({ command: `: lost-reply-${generation}` }));
    agent.fault('/run', { kind: 'reset', when: 'after' });
    expect(await failureOf(port.start(host, order))).toMatchObject({
      code: 'agent_reply_lost',
      retry: 'reconcile',
    });
    expect(agent.startsOf(`lost-reply-${generation}`)).toBe(1);
  });

  test.each([
    [{ status: 429, body: '{"error":"rate_limited"}', headers: { 'retry-after': '7' } }, 'agent_busy', 7],
    [{ status: 403, body: '{"error":"ip_not_allowed"}' }, 'agent_address_refused', undefined],
    [{ status: 400, body: '{"error":"command_blocked"}' }, 'agent_rejected', undefined],
    [{ status: 500, body: '{"error":"oops"}' }, 'agent_failed', undefined],
    [{ status: 200, body: '<html>hello</html>' }, 'agent_reply_invalid', undefined],
    [{ status: 200, body: '{"status":"running","job_id":"../../etc"}' }, 'agent_reply_invalid', undefined],
  ])('a start answered by %j is %s', async (reply, code, retryAfter) => {
    agent.fault('/run', { kind: 'reply', ...reply });
    const error = await failureOf(port.start(host, startOrder(baseJob())));
    expect(error.code).toBe(code);
    expect(error.fields.retry_after).toBe(retryAfter);
    expect(agent.startsOf('unwanted')).toBe(0);
  });

  test('a job whose status fails does not hide the others', async () => {
    const [first, second] = [await start({ command: 'sleep 5' }), await start({ command: 'sleep 5' })];
    agent.fault('/status', { kind: 'reply', status: 500, body: 'Internal Server Error', type: 'text/plain' });
    const { reports, errors } = await port.ask(host, [first, second]);
    expect(errors.get(first.id)).toMatchObject({ code: 'agent_failed', retry: 'reconcile' });
    expect(reports.get(second.id)).toMatchObject({ kind: 'running' });
  });
});

describe('the newest generation', () => {
  let agent: BaseAgent;
  beforeAll(async () => {
    agent = await startBaseAgent({ generation: 'C', newest: true });
  });
  afterAll(() => agent.close());

  test('a start whose session is alive starts nothing and says so', async () => {
    const host = dialHost(agent);
    const job = baseJob({ command: 'sleep 30' });
    await port.start(host, startOrder(job));
    expect(await port.start(host, startOrder(job))).toMatchObject({ existing: true });
    expect(agent.startsOf('sleep 30')).toBe(1);
    await port.cancel(host, job, CANCEL);
  });

  test('output is read from its /logs', async () => {
    const host = dialHost(agent);
    const job = baseJob({ command: 'echo one two three' });
    await port.start(host, startOrder(job));
    await until(async () => (await port.ask(host, [job])).reports.get(job.id)?.kind === 'ended');
    events.length = 0;
    const range = { stream: 'stdout' as const, offset: 4, limit: 3, attempt: 1 };
    expect(await port.read(host, job, range)).toEqual({ data: Buffer.from('two'), next: 7, eof: false });
    const rest = await port.read(host, job, { ...range, offset: 7, limit: 100 });
    expect(rest).toEqual({ data: Buffer.from(' three\n'), next: 14, eof: true });
    expect(events.map(({ what }) => what)).toEqual(['logs', 'logs']);
  });
});

/** An agent in one line: what it answers to its n-th request, or null for a broken connection. */
async function answering(answer: (n: number) => string | null) {
  let n = 0;
  const server = await startRawServer((socket) => {
    const body = answer(++n);
    if (body === null) socket.resetAndDestroy();
    else socket.write(httpReply(200, body));
  });
  const host = dialHost({ address: server.address, token: 't', fingerprint: '' });
  return { server, host: { ...host, tls: { dangerously_off: true as const } } };
}

test('a start is not sent on a kept connection, which the agent might be closing', async () => {
  const { server, host } = await answering((n) => (n === 1 ? '{"status":"ok"}' : '{"status":"submitted"}'));
  try {
    await port.ping(host);
    await port.start(host, startOrder(baseJob()));
    expect(server.connections).toBe(2);
    await until(() => server.open === 1, { what: 'the connection of the start to be closed' });
  } finally {
    await server.close();
  }
});

test('a host that stops answering ends the round with what was learnt until then', async () => {
  const running = '{"job_id":"x","status":"running","return_code":null,"stdout":"","stderr":""}';
  const { server, host } = await answering((n) => (n === 1 ? running : null));
  try {
    const [first, second, third] = [baseJob(), baseJob(), baseJob()];
    const { reports, errors } = await port.ask(host, [first, second, third]);
    expect([...reports.keys()]).toEqual([first.id]);
    expect([...errors].map(([id, { code }]) => [id, code])).toEqual([[second.id, 'agent_reply_lost']]);
    expect(await failureOf(port.ask(host, [first, second]))).toMatchObject({ code: 'agent_reply_lost' });
    expect(server.seen).toHaveLength(3);
  } finally {
    await server.close();
  }
});

test('a gigabyte of output costs a poll a few hundred kilobytes and little memory', async () => {
  let written = 0;
  const server = await startRawServer((socket) => {
    const head = '{"job_id":"x","status":"running","return_code":null,"stdout":"';
    socket.write(`HTTP/1.1 200 OK\r\ncontent-length: 1000000000\r\n\r\n${head}`);
    const piece = Buffer.alloc(65_536, 'x');
    const pour = () => {
      while (!socket.destroyed && written < 1_000_000_000) {
        written += piece.length;
        if (!socket.write(piece)) {
          socket.once('drain', pour);
          return;
        }
      }
    };
    pour();
  });
  const host: DialHost = { ...dialHost({ address: server.address, token: 't', fingerprint: '' }) };
  host.tls = { dangerously_off: true };
  try {
    const job = baseJob();
    const { reports } = await port.ask(host, [job]);
    expect(reports.get(job.id)).toMatchObject({ kind: 'running' });
    await until(() => server.open === 0, { what: 'the connection to be closed' });
    expect(written).toBeLessThan(20_000_000);
  } finally {
    await server.close();
  }
});

test.each([
  ['finished', null, { kind: 'vanished', reason: 'exit_unknown' }],
  ['running', 0, { kind: 'ended', reason: 'exit', return_code: 0 }],
  ['cancelled', 137, { kind: 'ended', reason: 'exit', return_code: 137 }],
  ['submitted', null, { kind: 'running' }],
  ['', null, { kind: 'unknown' }],
])('the status %j with the code %j is told as %j', async (status, return_code, expected) => {
  const body = JSON.stringify({ job_id: 'x', status, return_code, stdout: '', stderr: '' });
  const { server, host } = await answering(() => body);
  try {
    const job = baseJob();
    const { reports } = await port.ask(host, [job]);
    expect(reports.get(job.id)).toMatchObject(expected);
  } finally {
    await server.close();
  }
});
