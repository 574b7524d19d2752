/** Jobs in tmux: seen in the pane, recorded all the same, and one server each. */
import { execFileSync, spawnSync } from 'node:child_process';
import { existsSync, readFileSync, statSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { isAlive } from '../helpers/alive.ts';
import { type RealAgent, startRealAgent } from '../helpers/real-agent.ts';
import { until } from '../helpers/until.ts';

const hasTmux = spawnSync('tmux', ['-V']).status === 0;
const user = process.getuid?.() === 0 ? 'nobody' : null;

let agent: RealAgent;

const run = async (request: Record<string, unknown>) =>
  (await agent.call('POST', '/run', { use_tmux: true, run_as_user: user, ...request })).body;

const socketOf = (id: string): string =>
  JSON.parse(readFileSync(join(agent.jobDir(id), 'job.json'), 'utf8')).socket;

const tmux = (id: string, ...args: string[]) =>
  execFileSync('tmux', ['-S', socketOf(id), ...args], { encoding: 'utf8' });

describe.skipIf(!hasTmux)('use_tmux (needs tmux)', () => {
  beforeAll(async () => {
    agent = await startRealAgent();
  });
  afterAll(() => agent.stop());

  it('records code and streams, and leaves no server behind', async () => {
    const job = await run({ job_id: 'ends', command: 'echo out; echo err >&2; exit 3', wait_seconds: 20 });
    expect(job).toMatchObject({
      return_code: 3,
      reason: 'exit',
      stdout: 'out\n',
      stderr: 'err\n',
      attach_command: null,
    });
    await until(
      () => !isAlive(Number(readFileSync(join(agent.jobDir('ends'), 'server'), 'utf8').split(' ')[0])),
    );
  });

  it('names a signal, and keeps bytes that are not UTF-8', async () => {
    const job = await run({ command: "printf '\\377'; kill -KILL $$", wait_seconds: 20 });
    expect(job).toMatchObject({
      return_code: 137,
      signal: 'KILL',
      stdout_encoding: 'base64',
      stdout: '/w==',
    });
  });

  it('shows the output in the pane of a server of its own, in a directory of the user only', async () => {
    const job = await run({ job_id: 'pane', command: 'echo seen; tty; sleep 60' });
    expect(job.attach_command).toContain(`tmux -S ${socketOf('pane')} attach -t job`);
    await until(() => tmux('pane', 'capture-pane', '-p', '-t', 'job').startsWith('seen\n/dev/pts/'));
    expect(statSync(dirname(socketOf('pane'))).mode & 0o777).toBe(0o700);
    expect((await agent.call('GET', '/status/pane')).body.stdout).toMatch(/^seen\n/);
    const { body } = await agent.call('POST', '/cancel/pane');
    expect(body).toMatchObject({ reason: 'canceled', return_code: 143, remaining_pids: [] });
    await until(
      () => !existsSync(`/proc/${readFileSync(join(agent.jobDir('pane'), 'server'), 'utf8').split(' ')[0]}`),
    );
  });

  it('takes input from the pane, and survives the agent and its supervisor', async () => {
    await run({ job_id: 'types', command: 'read line; echo "got $line"; exit 4' });
    process.kill(
      Number(readFileSync(join(agent.jobDir('types'), 'supervisor'), 'utf8').split(' ')[0]),
      'SIGKILL',
    );
    await agent.restart();
    expect((await agent.call('GET', '/status/types')).body.state).toBe('running');
    tmux('types', 'send-keys', '-t', 'job', 'hello', 'Enter');
    const over = await until(async () => {
      const { body } = await agent.call('GET', '/status/types');
      return body.state === 'ended' && body;
    });
    expect(over).toMatchObject({ return_code: 4, stdout: 'got hello\n' });
  });

  it('ends on time, and gives it its secrets', async () => {
    const job = await run({
      command: 'printf %s "$PW"; sleep 60',
      secret_env: { PW: "a'b\nc" },
      timeout_seconds: 1,
      wait_seconds: 30,
    });
    expect(job).toMatchObject({ reason: 'timeout', return_code: null, stdout: "a'b\nc" });
  });

  it('is lost when its server is killed and nobody saw the code', async () => {
    await run({ job_id: 'dies', command: 'sleep 60' });
    const pidIn = (name: string) =>
      Number(readFileSync(join(agent.jobDir('dies'), name), 'utf8').split(' ')[0]);
    process.kill(pidIn('child'), 'SIGKILL');
    const over = await until(async () => {
      const { body } = await agent.call('GET', '/status/dies');
      return body.state === 'lost' && body;
    });
    expect(over).toMatchObject({ reason: 'exit_unknown', return_code: null });
  });

  it('gets thirty at the same time right, with the end of their output', async () => {
    const codes = Array.from({ length: 30 }, (_, index) => index);
    const command = (code: number) => `seq 1 20000; exit ${code}`;
    const jobs = await Promise.all(codes.map((code) => run({ command: command(code), wait_seconds: 60 })));
    expect(jobs.map((job) => job.return_code)).toEqual(codes);
    expect(new Set(jobs.map((job) => job.stdout_bytes))).toEqual(new Set([108_894]));
  });
});
