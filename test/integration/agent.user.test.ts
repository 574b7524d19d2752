/** A command of another user sees what `su - USER -c` gives it. */
import { execFileSync } from 'node:child_process';
import { chmodSync, mkdirSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { type RealAgent, startRealAgent } from '../helpers/real-agent.ts';
import { changeAccount, createTemporaryUser, type TemporaryUser } from '../helpers/temporary-user.ts';
import { until } from '../helpers/until.ts';

const isRoot = process.getuid?.() === 0;

let agent: RealAgent;

const run = async (request: Record<string, unknown>, on = agent) =>
  (await on.call('POST', '/run', { wait_seconds: 20, ...request })).body;

describe.skipIf(!isRoot)('run_as_user by an agent that is root (needs root)', () => {
  let user: TemporaryUser;
  beforeAll(async () => {
    user = await createTemporaryUser();
    writeFileSync(
      join(user.home, '.profile'),
      'export FROM_PROFILE="yes, it is" mode=prod dir=mine\nulimit -n 256\nPATH=$HOME/bin:$PATH\n',
    );
    agent = await startRealAgent();
  });
  afterAll(async () => {
    await agent?.stop();
    await user?.remove();
  });

  it('has the same id, groups, limits, directory and environment', async () => {
    const command = 'id; pwd; umask; ulimit -a; ulimit -Ha; env | sort';
    const expected = execFileSync('su', ['-', user.name, '-c', command], { encoding: 'utf8', env: {} });
    const job = await run({ job_id: 'same', command, run_as_user: user.name });
    const own = /^(SLUICE_\w+|_|SHLVL|OLDPWD|TERM)=.*\n/gm;
    expect(job.stdout.replace(own, '')).toBe(expected.replace(own, ''));
    expect(job.stdout).toContain(`(${user.group})`);
    expect(job.stdout).not.toMatch(/groups=.*\b0\(root\)/);
    expect(job.stdout).toContain('FROM_PROFILE=yes, it is\n');
  });

  it('applies env after the profile, and only once root is gone', async () => {
    const env = { FROM_PROFILE: 'no', PATH: '/bin:/custom', LD_PRELOAD: '/nonexistent/evil.so' };
    const job = await run({
      job_id: 'env',
      command: 'echo "$FROM_PROFILE $PATH"',
      run_as_user: user.name,
      env,
    });
    expect(job).toMatchObject({ return_code: 0, stdout: 'no /bin:/custom\n' });
    expect(readFileSync(join(agent.jobDir('env'), 'supervisor.log'), 'utf8')).not.toContain('evil');
  });

  it('gets signals as they are by default, SIGINT too', async () => {
    const job = await run({
      command: 'grep SigIgn /proc/self/status; kill -INT $$; sleep 1',
      run_as_user: user.name,
    });
    expect(job).toMatchObject({ stdout: 'SigIgn:\t0000000000000000\n', reason: 'signal', signal: 'INT' });
  });

  it('gives the user its secrets, and nobody else the command or the environment', async () => {
    await agent.call('POST', '/run', {
      job_id: 'private',
      command: 'sleep 30 # pass=verysecret',
      env: { TOKEN: 'veryprivate' },
      secret_env: { PW: "it's" },
      run_as_user: user.name,
    });
    const spy = await run({
      command: `cat ${agent.jobDir('private')}/in/* ; ls ${agent.jobDir('private')}/.. ; cat /proc/*/cmdline | tr '\\0' ' '`,
      run_as_user: 'nobody',
    });
    expect(spy.stdout).not.toMatch(/verysecret|veryprivate|private\n/);
    await agent.call('POST', '/cancel/private', { signal: 'KILL' });
    expect(
      await run({ command: 'echo "$PW"', secret_env: { PW: "it's" }, run_as_user: user.name }),
    ).toMatchObject({ stdout: "it's\n" });
  });

  it('stops a whole tree, with the code of the command and not the one of su', async () => {
    await agent.call('POST', '/run', {
      job_id: 'stop',
      command: 'trap "exit 9" TERM; echo ready; sleep 60 & wait',
      run_as_user: user.name,
    });
    await until(async () => (await agent.call('GET', '/status/stop')).body.stdout === 'ready\n');
    const { body } = await agent.call('POST', '/cancel/stop', { grace_seconds: 5 });
    expect(body).toMatchObject({ reason: 'canceled', return_code: 9, remaining_pids: [] });
  });

  it('stops a job whose profile never ends', async () => {
    writeFileSync(join(user.home, '.bash_profile'), 'sleep 66\n');
    const started = agent.call('POST', '/run', {
      job_id: 'hangs',
      command: 'echo ran',
      run_as_user: user.name,
    });
    await until(async () => (await agent.call('GET', '/status/hangs')).body.state === 'accepted');
    const { body } = await agent.call('POST', '/cancel/hangs');
    rmSync(join(user.home, '.bash_profile'));
    expect(body).toMatchObject({
      state: 'ended',
      reason: 'canceled',
      return_code: null,
      stdout_bytes: 0,
      started_at: null,
    });
    await started;
  });

  it('ends as spawn_error where the user cannot enter the working directory or the session cannot be opened', async () => {
    const closed = mkdtempSync(join(tmpdir(), 'agent-closed-'));
    const workdir = await run({ command: 'pwd', run_as_user: user.name, workdir: closed });
    expect(workdir).toMatchObject({
      state: 'ended',
      reason: 'spawn_error',
      return_code: null,
      status: 'failed',
    });
    expect(workdir.message).toContain(closed);
    rmSync(closed, { recursive: true });
    await changeAccount('chage', '-E', '1', user.name);
    const expired = await run({ command: 'pwd', run_as_user: user.name });
    await changeAccount('chage', '-E', '-1', user.name);
    expect(expired).toMatchObject({ reason: 'spawn_error', return_code: null });
    expect(expired.message).toContain('session');
  });

  it('cannot make the agent read a file of root, or wait for a FIFO', async () => {
    const u = join(agent.jobDir('hostile'), 'u');
    const command = `cd ${u}; ln -s /etc/shadow fail; ln -sf /etc/shadow note; exit 200`;
    const job = await run({ job_id: 'hostile', command, run_as_user: user.name });
    expect(job).toMatchObject({ return_code: 200, reason: 'exit', message: null });
    const fifo = await run({
      job_id: 'fifo',
      command: `mkfifo ${agent.jobDir('fifo')}/u/fail; exit 201`,
      run_as_user: user.name,
    });
    expect(fifo).toMatchObject({ return_code: 201, reason: 'exit' });
  });

  it('refuses a user that there is not, and names that are none', async () => {
    const unknown = await agent.call('POST', '/run', { command: 'id', run_as_user: 'no-such-user' });
    expect(unknown).toMatchObject({ status: 422, body: { error: 'user_unknown' } });
    for (const name of ['-c id', 'root;id', '../root', '0', '$(id)', 'a\nb', '']) {
      expect((await agent.call('POST', '/run', { command: 'id', run_as_user: name })).status).toBe(422);
    }
  });
});

describe.skipIf(!isRoot)('an agent that is not root (needs root to become nobody)', () => {
  it('runs as its own user, with a login, and refuses all others', async () => {
    const dataDir = mkdtempSync(join(tmpdir(), 'agent-nobody-'));
    mkdirSync(join(dataDir, 'data'));
    execFileSync('chown', ['-R', 'nobody', dataDir]);
    const own = await startRealAgent({ dataDir: join(dataDir, 'data'), uid: 65534, gid: 65534 });
    expect(await run({ command: 'id -un; exit 3', run_as_user: 'nobody' }, own)).toMatchObject({
      stdout: 'nobody\n',
      return_code: 3,
    });
    expect(await run({ command: 'id -un; kill -9 $$' }, own)).toMatchObject({
      stdout: 'nobody\n',
      signal: 'KILL',
    });
    const refused = await own.call('POST', '/run', { command: 'id', run_as_user: 'root' });
    expect(refused).toMatchObject({ status: 422, body: { error: 'user_not_allowed' } });
    await own.call('POST', '/run', { job_id: 'tree', command: 'setsid sleep 67 & sleep 67' });
    expect((await own.call('POST', '/cancel/tree')).body).toMatchObject({
      reason: 'canceled',
      remaining_pids: [],
    });
    await own.stop();
    rmSync(dataDir, { recursive: true });
  });
});

describe.skipIf(!isRoot)('the policy file (needs root to own it)', () => {
  let directory: string;
  beforeAll(() => {
    directory = mkdtempSync(join(tmpdir(), 'agent-policy-'));
  });
  afterAll(() => rmSync(directory, { recursive: true }));

  const policy = (name: string, text: string, mode = 0o644) => {
    const file = join(directory, name);
    writeFileSync(file, text);
    chmodSync(file, mode);
    return file;
  };

  it('decides who may be run as whom, and /ping says so', async () => {
    const file = policy('good.json', '{"users":["nobody"]}');
    const ruled = await startRealAgent({ args: ['--policy', file] });
    expect((await ruled.call('POST', '/ping')).body.users).toEqual(['nobody']);
    expect(await run({ command: 'id -un', run_as_user: 'nobody' }, ruled)).toMatchObject({
      stdout: 'nobody\n',
    });
    for (const name of ['root', null]) {
      const refused = await ruled.call('POST', '/run', { command: 'id', run_as_user: name });
      expect(refused).toMatchObject({ status: 422, body: { error: 'user_not_allowed' } });
    }
    await ruled.stop();
  });

  it('keeps the agent from starting where it is missing, malformed, not of root, or writable by others', async () => {
    const bad = policy('bad.json', '{"users":"root"}');
    const open = policy('open.json', '{"users":[]}', 0o666);
    const foreign = policy('foreign.json', '{"users":[]}');
    execFileSync('chown', ['nobody', foreign]);
    const link = join(directory, 'link.json');
    symlinkSync(foreign, link);
    for (const file of [bad, open, foreign, link, join(directory, 'missing.json')]) {
      await expect(startRealAgent({ args: ['--policy', file] })).rejects.toThrow(/policy|no such file/);
    }
  });
});
