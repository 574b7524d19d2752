/**
 * The Full protocol, asked of the shipped agent over HTTPS and by nothing else. With SLUICE_TEST_AGENT it is asked of
 * a built agent, on whatever Node its command line names.
 */
import { createHash, randomUUID } from 'node:crypto';
import { Compile } from 'typebox/compile';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { AgentJob, CAPABILITIES, LogsReply, PingReply, StatusReply } from '../../src/protocol/agent.ts';
import { type RealAgent, startRealAgent } from '../helpers/real-agent.ts';

const schemas = {
  ping: Compile(PingReply),
  job: Compile(AgentJob),
  status: Compile(StatusReply),
  logs: Compile(LogsReply),
};

describe('Full protocol of the shipped agent', () => {
  let agent: RealAgent;
  beforeAll(async () => {
    agent = await startRealAgent();
  });
  afterAll(() => agent?.stop());

  const id = () => `f-${randomUUID()}`;
  const run = (command: string, more: Record<string, unknown> = {}) =>
    agent.call('POST', '/run', { job_id: id(), command, wait_seconds: 20, ...more });
  const sha256 = (text: string) => createHash('sha256').update(text).digest('hex');

  test('ping says what it can do, which boot this is and which store', async () => {
    const { status, body } = await agent.call('POST', '/ping');
    expect(status).toBe(200);
    expect(schemas.ping.Check(body)).toBe(true);
    expect(body).toMatchObject({ status: 'ok', protocol: 2 });
    expect(body.capabilities).toEqual(expect.arrayContaining(CAPABILITIES.filter((name) => name !== 'tmux')));
    for (const key of ['version', 'boot_id', 'store_id', 'time']) expect(body[key]).toMatch(/./);
  });

  test('a short command costs one round trip, and its reply says all of it', async () => {
    const { status, body } = await run('echo out; echo err >&2; exit 3');
    expect(status).toBe(200);
    expect(schemas.job.Check(body)).toBe(true);
    expect(body).toMatchObject({
      state: 'ended',
      reason: 'exit',
      return_code: 3,
      stdout: 'out\n',
      stderr: 'err\n',
    });
    expect(body).toMatchObject({ stdout_bytes: 4, stderr_bytes: 4, stdout_sha256: sha256('out\n') });
    expect(['finished', 'failed']).toContain(body.status);
    expect(Date.parse(body.ended_at)).toBeGreaterThanOrEqual(Date.parse(body.started_at));
    expect((await agent.call('GET', `/status/${body.job_id}`)).body).toMatchObject({
      state: 'ended',
      return_code: 3,
    });
  });

  test('the same token starts once, however often and at the same time it is sent', async () => {
    const token = id();
    const order = { job_id: token, command: 'echo x; sleep 0.3', wait_seconds: 20 };
    const replies = await Promise.all(Array.from({ length: 4 }, () => agent.call('POST', '/run', order)));
    for (const { status, body } of replies) {
      expect(status).toBe(200);
      expect(body).toMatchObject({ job_id: token, state: 'ended', stdout: 'x\n' });
    }
    expect(replies.filter(({ body }) => body.existing !== true)).toHaveLength(1);
    const other = await agent.call('POST', '/run', { job_id: token, command: 'echo other' });
    expect(other).toMatchObject({ status: 409, body: { error: 'job_id_conflict' } });
  });

  test('another store than the expected one starts nothing', async () => {
    const token = id();
    const reply = await run('true', { job_id: token, expect_store_id: 'another' });
    expect(reply).toMatchObject({ status: 409, body: { error: 'store_changed' } });
    expect((await agent.call('GET', `/status/${token}`)).body).toMatchObject({ state: 'unknown' });
    const { body: ping } = await agent.call('POST', '/ping');
    expect((await run('true', { expect_store_id: ping.store_id })).body).toMatchObject({ return_code: 0 });
  });

  test('env, secret_env, workdir and shell reach the command, and SLUICE_JOB_ID is there', async () => {
    const token = id();
    const command = 'printf "%s|" "$A" "$S" "$PWD" "$0" "$SLUICE_JOB_ID"';
    const more = {
      job_id: token,
      env: { A: 'it\'s\n"x"' },
      secret_env: { S: 'hush' },
      workdir: '/usr/lib',
      shell: '/bin/sh',
    };
    const { body } = await run(command, more);
    const [a, s, pwd, shell, job] = (body.stdout as string).split('|');
    expect([a, s, pwd, job]).toEqual(['it\'s\n"x"', 'hush', '/usr/lib', token]);
    expect(shell).not.toContain('bash');
  });

  test.each([
    ['workdir', { workdir: '/nonexistent' }],
    ['user_unknown', { run_as_user: 'nobody-of-this-name' }],
  ])('what cannot be used is a 422 %s, and starts nothing', async (error, more) => {
    const reply = await run('true', more);
    expect(reply).toMatchObject({ status: 422, body: { error } });
    expect(reply.body.message).toMatch(/./);
  });

  test('the timeout is enforced and is no exit code of the command', async () => {
    const { body } = await run("trap '' TERM; (sleep 300 & sleep 300) & sleep 300", {
      timeout_seconds: 1,
      wait_seconds: 40,
    });
    expect(body).toMatchObject({ state: 'ended', reason: 'timeout', remaining_pids: [] });
    expect((await run('exit 124')).body).toMatchObject({ reason: 'exit', return_code: 124 });
  });

  test('a command that a signal ended names it', async () => {
    expect((await run('kill -HUP $$')).body).toMatchObject({
      reason: 'signal',
      signal: 'HUP',
      return_code: 129,
    });
  });

  test('leftovers are kept and counted, or ended', async () => {
    expect((await run('sleep 300 & echo on')).body).toMatchObject({ return_code: 0, leftover_processes: 1 });
    const ended = await run('sleep 300 & echo on', { leftovers: 'kill', wait_seconds: 40 });
    expect(ended.body).toMatchObject({ return_code: 0, leftover_processes: 0 });
  });

  test('cancel answers when the whole tree is gone, and a second one changes nothing', async () => {
    const token = id();
    await run("trap '' TERM; (sleep 300 & sleep 300) & sleep 300", { job_id: token, wait_seconds: 0 });
    const { body } = await agent.call('POST', `/cancel/${token}`, { signal: 'TERM', grace_seconds: 1 });
    expect(body).toMatchObject({
      status: 'cancelled',
      state: 'ended',
      reason: 'canceled',
      remaining_pids: [],
    });
    expect(['cgroup', 'group+marker']).toContain(body.proof);
    const again = await agent.call('POST', `/cancel/${token}`);
    expect(again.body).toMatchObject({ state: 'ended', reason: 'canceled' });
  });

  test('cancel of a token never seen is a tombstone', async () => {
    const token = id();
    expect((await agent.call('POST', `/cancel/${token}`)).status).toBe(200);
    const late = await run('true', { job_id: token });
    expect(late).toMatchObject({ status: 409, body: { error: 'canceled_before_start' } });
  });

  test('many jobs are asked about at once, without output, unknown ones included', async () => {
    const { body: job } = await run('echo out');
    const unknown = id();
    const { body } = await agent.call('POST', '/status', { job_ids: [job.job_id, unknown] });
    expect(schemas.status.Check(body)).toBe(true);
    const found = new Map<string, AgentJob>(body.jobs.map((one: AgentJob) => [one.job_id, one]));
    expect(found.get(job.job_id)).toMatchObject({ state: 'ended', return_code: 0 });
    expect(found.get(job.job_id)?.stdout ?? null).toBeNull();
    expect(found.get(unknown)).toMatchObject({ state: 'unknown' });
  });

  test('a held status answers as soon as one of its jobs changes after the cursor', async () => {
    const token = id();
    await run('sleep 1.5', { job_id: token, wait_seconds: 0 });
    const first = await agent.call('POST', '/status', { job_ids: [token] });
    expect(first.body.jobs[0]).toMatchObject({ state: 'running' });
    const began = Date.now();
    const held = await agent.call('POST', '/status', {
      job_ids: [token],
      cursor: first.body.cursor,
      wait_seconds: 30,
    });
    expect(held.body.jobs[0]).toMatchObject({ job_id: token, state: 'ended', return_code: 0 });
    expect(Date.now() - began).toBeLessThan(20_000);
    const still = await agent.call('POST', '/status', {
      job_ids: [token],
      cursor: held.body.cursor,
      wait_seconds: 0.2,
    });
    expect(still.status).toBe(200);
  });

  test('any range of a stream can be read, as base64 where it is not UTF-8', async () => {
    const { body: job } = await run("printf 'hello\\377world'; echo err >&2");
    const read = async (query: string) => {
      const { body } = await agent.call('GET', `/logs/${job.job_id}?${query}`);
      expect(schemas.logs.Check(body)).toBe(true);
      return { ...body, bytes: Buffer.from(body.data, body.encoding ?? 'utf8') };
    };
    const part = await read('stream=stdout&offset=1&limit=3');
    expect(part).toMatchObject({ data: 'ell', next: 4, eof: false });
    const rest = await read('stream=stdout&offset=4');
    expect(rest).toMatchObject({ encoding: 'base64', next: 11, eof: true });
    expect(rest.bytes.equals(Buffer.from('o\xffworld', 'latin1'))).toBe(true);
    expect(await read('stream=stderr')).toMatchObject({ data: 'err\n', eof: true });
  });

  test('a field that it does not know is refused', async () => {
    expect((await run('true', { no_such_field: 1 })).status).toBe(422);
  });

  test('jobs and their records outlive the agent', async () => {
    const token = id();
    await run('echo before; sleep 1.5; echo after; exit 5', { job_id: token, wait_seconds: 0 });
    await agent.restart();
    const again = { job_id: token, command: 'echo before; sleep 1.5; echo after; exit 5', wait_seconds: 30 };
    const { body } = await agent.call('POST', '/run', again);
    expect(body).toMatchObject({ existing: true, state: 'ended', return_code: 5, stdout: 'before\nafter\n' });
  });

  test('tmux mode has a pane to attach to, and the exact code', async () => {
    const { body: ping } = await agent.call('POST', '/ping');
    if (!ping.capabilities.includes('tmux'))
      return expect((await run('true', { use_tmux: true })).status).toBe(422);
    const running = await run('sleep 1; echo shown; exit 6', { use_tmux: true, wait_seconds: 0 });
    expect(running.body.attach_command).toContain('tmux');
    const { body } = await agent.call('POST', '/run', {
      job_id: running.body.job_id,
      command: 'sleep 1; echo shown; exit 6',
      use_tmux: true,
      wait_seconds: 30,
    });
    expect(body).toMatchObject({ state: 'ended', return_code: 6, stdout: 'shown\n' });
  });
});
