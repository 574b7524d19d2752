import { rm } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import type { DialHost } from '../../src/job/agent-port.ts';
import type { Job } from '../../src/job/record.ts';
import { createAgentPort } from '../../src/net/agents.ts';
import {
  dialHost,
  failureOf,
  httpReply,
  someJob,
  startOrder,
  startRawServer,
} from '../helpers/agent-port.ts';
import { type RealAgent, startRealAgent } from '../helpers/real-agent.ts';
import { until } from '../helpers/until.ts';

let agent: RealAgent;
let host: DialHost;
const port = createAgentPort();

beforeAll(async () => {
  agent = await startRealAgent();
  host = dialHost(agent);
});

afterAll(async () => {
  await port.close();
  await agent.stop();
});

const askOne = async (job: Job) => (await port.ask(host, [job])).reports.get(job.id);
const over = (job: Job) => until(async () => (await askOne(job))?.kind === 'ended', { what: 'the end' });
const orderOf = (command: string, more: Partial<Job> = {}) => startOrder(someJob({ command, ...more }));

test('ping tells a Full agent, its store and its clock', async () => {
  const { facts, fingerprint } = await port.ping(host);
  expect(facts).toMatchObject({ kind: 'full', protocol: 2, users: null });
  expect(facts.capabilities).toContain('batch_status');
  expect(facts.store_id).toMatch(/./);
  expect(facts.boot_id).toMatch(/./);
  expect(Math.abs(facts.clock_skew_ms)).toBeLessThan(5_000);
  expect(fingerprint).toBe(agent.fingerprint);
});

test('a Full agent needs no directory to be prepared', async () => {
  expect(await port.prepare(host, (await port.ping(host)).facts, null)).toBeNull();
});

test('a start runs the command with its environment, and the same start again starts nothing', async () => {
  const job = someJob({ command: 'echo "$A $B"; echo oops >&2; exit 3' });
  const order = startOrder(job, { env: { A: '1' }, secret_env: { B: '2' } });
  const started = await port.start(host, order);
  expect(started).toMatchObject({ agent_job_id: order.token, existing: false });
  await over(job);
  expect(await port.start(host, order)).toMatchObject({
    existing: true,
    report: { kind: 'ended', reason: 'exit', return_code: 3, stdout_bytes: 4, stderr_bytes: 5 },
  });
  const range = { stream: 'stdout' as const, offset: 0, limit: 100, attempt: 1 };
  expect(await port.read(host, job, range)).toEqual({ data: Buffer.from('1 2\n'), next: 4, eof: true });
});

test('a held start of a short command answers with its end and output, bytes that are no text included', async () => {
  const order = { ...orderOf(String.raw`printf 'a\377'`), wait_seconds: 10 };
  const { report } = await port.start(host, order);
  expect(report).toMatchObject({ kind: 'ended', reason: 'exit', return_code: 0 });
  expect(report.kind === 'ended' && report.stdout_tail).toEqual(Buffer.from([0x61, 0xff]));
  expect(report.kind === 'ended' && report.started_at).toBeGreaterThan(Date.now() - 60_000);
});

test('the limits of a job are kept by the host', async () => {
  const order = {
    ...orderOf('pwd; sleep 60', { timeout_seconds: 1, workdir: '/tmp', shell: '/bin/sh' }),
    wait_seconds: 20,
  };
  const { report } = await port.start(host, order);
  expect(report).toMatchObject({ kind: 'ended', reason: 'timeout', return_code: null });
  expect(report.kind === 'ended' && report.stdout_tail?.toString()).toBe('/tmp\n');
});

test('many jobs are one question, in which an unknown token is unknown', async () => {
  const known = orderOf('sleep 60');
  const stranger = someJob();
  await port.start(host, known);
  const requests: string[] = [];
  const counting = createAgentPort({ onRequest: (event) => requests.push(event.what) });
  const { reports, errors, cursor } = await counting.ask(host, [known.job, stranger]);
  await counting.close();
  expect(requests).toEqual(['status']);
  expect(reports.get(known.job.id)).toMatchObject({ kind: 'running', started_at: expect.any(Number) });
  expect(reports.get(stranger.id)).toMatchObject({ kind: 'unknown' });
  expect(errors.size).toBe(0);
  expect(cursor).toEqual(expect.any(String));
  await port.cancel(host, known.job, { signal: 'KILL', grace_seconds: 0, reason: null });
});

test('a held question is answered as soon as a job ends', async () => {
  const order = orderOf('sleep 1');
  await port.start(host, order);
  const { cursor } = await port.ask(host, [order.job]);
  const begun = Date.now();
  const signal = new AbortController().signal;
  const held = await port.ask(host, [order.job], { seconds: 20, cursor, signal });
  expect(held.reports.get(order.job.id)).toMatchObject({ kind: 'ended', return_code: 0 });
  expect(Date.now() - begun).toBeLessThan(10_000);
});

test('cancel proves that the tree is gone', async () => {
  const order = orderOf('sleep 60 & sleep 60');
  await port.start(host, order);
  const { report, unproven } = await port.cancel(host, order.job, {
    signal: 'TERM',
    grace_seconds: 2,
    reason: null,
  });
  expect(unproven).toBe(false);
  expect(report).toMatchObject({ kind: 'ended', reason: 'canceled', remaining_pids: [] });
  expect(report.kind === 'ended' && report.proof).not.toBe('none');
});

test('cancel of a token never seen leaves a tombstone: a start that comes late starts nothing', async () => {
  const order = orderOf('true');
  await port.cancel(host, order.job, { signal: 'TERM', grace_seconds: 0, reason: null });
  const error = await failureOf(port.start(host, order));
  expect(error).toMatchObject({ code: 'agent_canceled_before_start', retry: 'never' });
});

test('cancel in another store than that of the start is refused, and leaves no tombstone', async () => {
  const order = orderOf('true', { store_id: 'another-store' });
  const cancel = { signal: 'TERM', grace_seconds: 0, reason: null };
  const error = await failureOf(port.cancel(host, order.job, cancel));
  expect(error).toMatchObject({ code: 'agent_store_changed', retry: 'never' });
  expect(await askOne(order.job)).toMatchObject({ kind: 'unknown' });
});

test.each([
  ['is canceled all the same in its own store', 'own', null],
  ['gets no cancel in another one', 'another', 'agent_store_changed'],
])('an agent that does not know expect_store_id in a cancel %s', async (_, storeId, code) => {
  const job = someJob({ store_id: 'own' });
  const server = await startRawServer((socket, request) => {
    const canceled = { job_id: `${job.id}-1`, status: 'cancelled', state: 'ended', reason: 'canceled' };
    if (request.startsWith('POST /ping')) {
      socket.write(httpReply(200, JSON.stringify({ status: 'ok', capabilities: [], store_id: storeId })));
    } else if (request.includes('expect_store_id')) {
      socket.write(httpReply(422, '{"error":"invalid_request"}'));
    } else socket.write(httpReply(200, JSON.stringify(canceled)));
  });
  try {
    const dial: DialHost = { ...host, address: server.address, tls: { dangerously_off: true } };
    const result = port.cancel(dial, job, { signal: 'TERM', grace_seconds: 0, reason: null });
    if (code === null) expect(await result).toMatchObject({ report: { kind: 'ended', reason: 'canceled' } });
    else expect(await failureOf(result)).toMatchObject({ code });
    expect(server.seen.some((request) => request.startsWith('POST /cancel'))).toBe(code === null);
  } finally {
    await server.close();
  }
});

test('any range of the output is exact', async () => {
  const order = { ...orderOf('seq 1 20000; seq 1 3 >&2'), wait_seconds: 20 };
  await port.start(host, order);
  const whole = Buffer.from(Array.from({ length: 20_000 }, (_, n) => `${n + 1}\n`).join(''));
  const range = { stream: 'stdout' as const, attempt: 1 };
  const part = await port.read(host, order.job, { ...range, offset: 70_000, limit: 1_000 });
  expect(part).toEqual({ data: whole.subarray(70_000, 71_000), next: 71_000, eof: false });
  const rest = await port.read(host, order.job, { ...range, offset: 71_000, limit: 50_000_000 });
  expect(Buffer.compare(rest.data, whole.subarray(71_000))).toBe(0);
  expect(rest.eof).toBe(true);
});

test('the output of a token that the host does not know is gone', async () => {
  const range = { stream: 'stdout' as const, offset: 0, limit: 10, attempt: 1 };
  expect(await failureOf(port.read(host, someJob(), range))).toMatchObject({ code: 'output_gone' });
});

test.each([
  ['another command under the same token', 'agent_rejected', 'job_id_conflict'],
  ['a user that the host does not have', 'agent_rejected', 'user_unknown'],
  ['a working directory that is not there', 'agent_rejected', 'workdir'],
  ['records that are not those of before', 'agent_store_changed', 'store_changed'],
])('%s is refused with %s, %s', async (what, code, word) => {
  const order = orderOf('true');
  if (word === 'job_id_conflict') await port.start(host, startOrder({ ...order.job, command: 'false' }));
  if (word === 'user_unknown') order.job.job_user = 'nobody-by-this-name';
  if (word === 'workdir') order.job.workdir = '/no/such/directory';
  if (word === 'store_changed') order.job.store_id = 'another-store';
  const error = await failureOf(port.start(host, order));
  expect(error, what).toMatchObject({ code, fields: { agent_code: word } });
});

test('a wrong token is refused, which is the trouble of the host', async () => {
  const error = await failureOf(port.start({ ...host, token: 'wrong' }, orderOf('true')));
  expect(error).toMatchObject({ code: 'agent_token_refused', retry: 'safe' });
});

test('an agent killed under a held question loses the reply; once back it knows the job', async () => {
  const own = await startRealAgent();
  try {
    const dial = dialHost(own);
    const order = orderOf('sleep 30');
    await port.start(dial, order);
    const { cursor } = await port.ask(dial, [order.job]);
    const held = failureOf(
      port.ask(dial, [order.job], { seconds: 20, cursor, signal: new AbortController().signal }),
    );
    await own.kill('SIGKILL');
    expect((await held).code).toMatch(/^agent_(reply_lost|unreachable)$/);
    expect(await failureOf(port.ask(dial, [order.job]))).toMatchObject({ code: 'agent_unreachable' });
    await own.restart();
    const { reports } = await port.ask(dial, [order.job]);
    expect(reports.get(order.job.id)).toMatchObject({ kind: 'running' });
  } finally {
    await own.stop();
  }
});

test('an agent whose records were wiped says unknown, and why', async () => {
  const own = await startRealAgent();
  try {
    const { facts } = await port.ping(dialHost(own));
    const order = orderOf('sleep 30', { store_id: facts.store_id });
    await port.start(dialHost(own), order);
    await own.kill('SIGKILL');
    await rm(join(own.dataDir, 'jobs', order.token), { recursive: true, force: true });
    await own.restart();
    const { reports } = await port.ask(dialHost(own), [order.job]);
    expect(reports.get(order.job.id)).toEqual({
      kind: 'unknown',
      message: 'the host does not know the job (its records were replaced or cleared up)',
    });
  } finally {
    await own.stop();
  }
});

test('one job that makes no sense in a batch does not hide the others', async () => {
  const [good, bad, missing] = [someJob(), someJob(), someJob()];
  const jobs = [
    { job_id: `${good.id}-1`, status: 'running', state: 'running' },
    { job_id: `${bad.id}-1`, status: 'running', state: 'dancing' },
  ];
  const server = await startRawServer((socket) =>
    socket.write(httpReply(200, JSON.stringify({ jobs, cursor: 'c' }))),
  );
  try {
    const dial: DialHost = { ...host, address: server.address, tls: { dangerously_off: true } };
    const { reports, errors } = await port.ask(dial, [good, bad, missing]);
    expect([...reports.keys()]).toEqual([good.id]);
    expect([...errors.keys()]).toEqual([bad.id, missing.id]);
    expect(errors.get(bad.id)).toMatchObject({ code: 'agent_reply_invalid' });
  } finally {
    await server.close();
  }
});
