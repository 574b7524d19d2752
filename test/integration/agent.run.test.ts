import { createHash } from 'node:crypto';
import { mkdtempSync, readdirSync, readFileSync, rmSync, statSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { isAlive } from '../helpers/alive.ts';
import { type RealAgent, startRealAgent } from '../helpers/real-agent.ts';
import { until } from '../helpers/until.ts';

let agent: RealAgent;
beforeAll(async () => {
  agent = await startRealAgent();
});
afterAll(() => agent.stop());

const run = async (request: Record<string, unknown>) =>
  (await agent.call('POST', '/run', { wait_seconds: 20, ...request })).body;

const sha256 = (bytes: Buffer | string) => createHash('sha256').update(bytes).digest('hex');

describe('how a command ends', () => {
  it('answers a short command with its code and output in one round trip', async () => {
    const job = await run({ job_id: 'short', command: 'echo out; echo err >&2; exit 3' });
    expect(job).toMatchObject({
      job_id: 'short',
      status: 'finished',
      state: 'ended',
      reason: 'exit',
      return_code: 3,
      stdout: 'out\n',
      stderr: 'err\n',
      stdout_bytes: 4,
      stdout_sha256: sha256('out\n'),
      stderr_sha256: sha256('err\n'),
      proof: 'group+marker',
      leftover_processes: 0,
    });
    expect(Date.parse(job.ended_at)).toBeGreaterThanOrEqual(Date.parse(job.started_at));
  });

  it('says running at once without wait_seconds', async () => {
    const started = await agent.call('POST', '/run', { job_id: 'async', command: 'sleep 0.3' });
    expect(started.body).toMatchObject({ job_id: 'async', status: 'running', state: 'running' });
  });

  it('holds a Base caller with sync until the end and makes an id for it', async () => {
    const reply = await agent.call('POST', '/run', {
      job_type: 'shell',
      command: 'sleep 0.2; echo done',
      sync: true,
    });
    expect(reply.body).toMatchObject({ status: 'finished', return_code: 0, stdout: 'done\n', stderr: '' });
    expect(reply.body.job_id).toMatch(/^[A-Za-z0-9_-]{1,64}$/);
  });

  it('names the signal that ended a command, and only then', async () => {
    expect(await run({ command: 'kill -KILL $$' })).toMatchObject({
      return_code: 137,
      reason: 'signal',
      signal: 'KILL',
    });
    expect(await run({ command: 'kill -TERM $$' })).toMatchObject({
      return_code: 143,
      reason: 'signal',
      signal: 'TERM',
    });
    expect(await run({ command: 'kill -INT $$' })).toMatchObject({
      return_code: 130,
      reason: 'signal',
      signal: 'INT',
    });
    expect(await run({ command: 'exit 137' })).toMatchObject({
      return_code: 137,
      reason: 'exit',
      signal: null,
    });
    expect(await run({ command: 'exit 124' })).toMatchObject({
      return_code: 124,
      reason: 'exit',
      signal: null,
    });
  });

  it('ends with 2 on a syntax error and 127 on an unknown program', async () => {
    expect(await run({ command: 'if then' })).toMatchObject({ return_code: 2, reason: 'exit' });
    expect(await run({ command: 'no-such-program-here' })).toMatchObject({
      return_code: 127,
      reason: 'exit',
    });
  });

  it('gets the code of forty instant commands right at the same time', async () => {
    const codes = Array.from({ length: 40 }, (_, index) => index);
    const jobs = await Promise.all(codes.map((code) => run({ command: `exit ${code}` })));
    expect(jobs.map((job) => job.return_code)).toEqual(codes);
  });

  it('is over when its main process is, leaves what it left running alone, and counts it', async () => {
    const job = await run({ command: 'sleep 30 & echo $!' });
    expect(job).toMatchObject({ return_code: 0, leftover_processes: 1, remaining_pids: [] });
    expect(isAlive(Number(job.stdout))).toBe(true);
    process.kill(Number(job.stdout), 'SIGKILL');
  });

  it('kills what it left running where the request says so', async () => {
    const job = await run({ command: '(trap "" HUP; sleep 30) & echo $!; exit 4', leftovers: 'kill' });
    expect(job).toMatchObject({ return_code: 4, reason: 'exit', leftover_processes: 0 });
    expect(isAlive(Number(job.stdout))).toBe(false);
  });
});

describe('output', () => {
  it('keeps every byte that is not UTF-8', async () => {
    const job = await run({ job_id: 'bytes', command: "printf 'a\\377\\000b'" });
    expect(job).toMatchObject({ stdout_encoding: 'base64', stdout_bytes: 4 });
    expect(Buffer.from(job.stdout, 'base64')).toEqual(Buffer.from([0x61, 0xff, 0x00, 0x62]));
    const { body } = await agent.call('GET', '/logs/bytes?stream=stdout&offset=1&limit=2');
    expect(body).toMatchObject({ encoding: 'base64', next: 3, eof: false });
  });

  it('cuts the status to the last 64 KiB and hands out all of it by range', async () => {
    const job = await run({ job_id: 'large', command: 'seq 1 200000' });
    const whole = Array.from({ length: 200_000 }, (_, index) => `${index + 1}\n`).join('');
    expect(job.stdout).toBe(whole.slice(-65_536));
    expect(job).toMatchObject({ stdout_bytes: whole.length, stdout_sha256: sha256(whole) });
    let read = '';
    for (let next = 0, eof = false; !eof; ) {
      const { body } = await agent.call('GET', `/logs/large?stream=stdout&offset=${next}&limit=500000`);
      read += body.data;
      ({ next, eof } = body);
    }
    expect(read).toBe(whole);
  });

  it('can be read while the command still writes, and is not at its end before the command is', async () => {
    await agent.call('POST', '/run', { job_id: 'live', command: 'echo first; sleep 0.5; echo second' });
    const first = await until(async () => {
      const { body } = await agent.call('GET', '/logs/live?stream=stdout&offset=0');
      return body.data === 'first\n' && body;
    });
    expect(first).toMatchObject({ next: 6, eof: false });
    await until(async () => (await agent.call('GET', '/logs/live?stream=stdout&offset=6')).body.eof);
  });
});

describe('what a command sees', () => {
  it('has /dev/null as stdin, umask 022, its job id, and nothing of the agent', async () => {
    const job = await run({
      job_id: 'sees',
      command: 'readlink /proc/self/fd/0; umask; readlink /proc/self/fd/* | grep -c /in/; env',
    });
    const [stdin, umask, descriptors, ...env] = job.stdout.trim().split('\n');
    expect([stdin, umask]).toEqual(['/dev/null', '0022']);
    expect(descriptors).toBe('0');
    expect(env).toContain('SLUICE_JOB_ID=sees');
    expect(env.filter((line: string) => /^(NODE|VITEST|npm_)/.test(line))).toEqual([]);
  });

  it('gets environment values unchanged, whatever they hold', async () => {
    const env = { A: 'it\'s $(id) `id` \\ "x" ;|&', B: 'two\nlines\t', C: '', D: 'žluťoučký', IFS: 'x' };
    const job = await run({ command: 'printf "%s\\0" "$A" "$B" "$C" "$D"', env });
    expect(job.stdout.split('\0').slice(0, 4)).toEqual([env.A, env.B, env.C, env.D]);
  });

  it('cannot be told another job id, nor have the names of its environment read as code', async () => {
    expect(
      await run({ job_id: 'own-id', command: 'echo $SLUICE_JOB_ID', env: { SLUICE_JOB_ID: 'other' } }),
    ).toMatchObject({
      stdout: 'own-id\n',
    });
    const reply = await agent.call('POST', '/run', { command: 'true', env: { 'A;id>/tmp/x': '1' } });
    expect(reply.status).toBe(422);
    expect((await agent.call('POST', '/run', { command: 'true', env: { UID: '0' } })).status).toBe(422);
  });

  it('applies a hostile LD_PRELOAD to the command only', async () => {
    const job = await run({ command: 'echo "$LD_PRELOAD"', env: { LD_PRELOAD: '/nonexistent/evil.so' } });
    expect(job).toMatchObject({ return_code: 0, stdout: '/nonexistent/evil.so\n' });
    expect(readFileSync(join(agent.jobDir(job.job_id), 'supervisor.log'), 'utf8')).toBe('');
  });

  it('runs in the working directory and with the shell of the request', async () => {
    const workdir = mkdtempSync(join(tmpdir(), "it's a dir-"));
    expect(await run({ command: 'pwd; echo $0', workdir, shell: '/bin/sh' })).toMatchObject({
      stdout: expect.stringContaining(`${workdir}\n`),
      return_code: 0,
    });
    expect(await run({ command: '[[ a == a ]] && echo $BASH_VERSION', shell: '/bin/bash' })).toMatchObject({
      stdout: expect.stringMatching(/^\d+\.\d+/),
    });
    rmSync(workdir, { recursive: true });
    const gone = await agent.call('POST', '/run', { command: 'pwd', workdir });
    expect(gone).toMatchObject({ status: 422, body: { error: 'workdir' } });
    const noShell = await agent.call('POST', '/run', { command: 'pwd', shell: '/bin/no-such-shell' });
    expect(noShell).toMatchObject({ status: 422, body: { error: 'mode_unsupported' } });
  });

  it('gets its secrets, which are in no argument and no file of the agent', async () => {
    const secret = "s3cret'with\nnewline";
    const job = await run({
      job_id: 'secret',
      command: 'printf %s "$PASSWORD" | sha256sum; cat /proc/*/cmdline | tr "\\0" "\\n" | grep -c "s3cre[t]"',
      secret_env: { PASSWORD: secret },
    });
    expect(job.stdout).toBe(`${sha256(secret)}  -\n0\n`);
    const files = readdirSync(agent.dataDir, { recursive: true, encoding: 'utf8' })
      .map((name) => join(agent.dataDir, name))
      .filter((path) => statSync(path).isFile());
    expect(files.filter((path) => readFileSync(path, 'utf8').includes('s3cret'))).toEqual([]);
  });

  it('refuses secrets that would not fit through the pipe', async () => {
    const reply = await agent.call('POST', '/run', {
      command: 'true',
      secret_env: { A: 'x'.repeat(40_000) },
    });
    expect(reply).toMatchObject({ status: 422, body: { error: 'invalid_request' } });
  });
});
