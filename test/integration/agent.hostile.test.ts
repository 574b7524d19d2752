/** What a job's own user may try against the agent, and what the agent makes of it. */
import { execFileSync } from 'node:child_process';
import { linkSync, mkdirSync, mkdtempSync, readFileSync, rmSync, utimesSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { hashOf } from '../../src/agent/output.ts';
import { type RealAgent, startRealAgent } from '../helpers/real-agent.ts';

const isRoot = process.getuid?.() === 0;
let agent: RealAgent;
let scratch: string;
beforeAll(async () => {
  scratch = mkdtempSync(join(tmpdir(), 'agent-hostile-'));
  agent = await startRealAgent({ args: ['--cgroup', scratch] });
});
afterAll(async () => {
  await agent.stop();
  rmSync(scratch, { recursive: true });
});

const run = async (request: Record<string, unknown>) =>
  (await agent.call('POST', '/run', { wait_seconds: 20, ...request })).body;

describe('a job', () => {
  it.skipIf(!isRoot)(
    'cannot have a file of root read by a hard link to it, on a kernel that lets it make one (needs root)',
    async () => {
      const secret = join(agent.dataDir, 'secret');
      writeFileSync(secret, 'of root', { mode: 0o600 });
      await agent.call('POST', '/run', {
        job_id: 'links',
        command: 'sleep 1; exit 4',
        run_as_user: 'nobody',
      });
      linkSync(secret, join(agent.jobDir('links'), 'u/fail'));
      const job = await run({ job_id: 'links', command: 'sleep 1; exit 4', run_as_user: 'nobody' });
      expect(job).toMatchObject({ return_code: 4, reason: 'exit', message: null });
    },
  );

  it('cannot hide itself by naming another job in its secrets', async () => {
    const secrets = { SLUICE_JOB_MARK: 'other/job', SLUICE_JOB_ID: 'other', PW: 'x' };
    const command = 'echo "$PW $SLUICE_JOB_ID"; [ "$SLUICE_JOB_MARK" != other/job ]';
    const job = await run({ job_id: 'named', command, secret_env: secrets });
    expect(job).toMatchObject({ return_code: 0, stdout: 'x named\n' });
  });

  it('cannot have its environment taken for variables of the process that starts it', async () => {
    for (const name of ['sluice_dir', 'sluice_shell', 'sluice_secrets', 'OPTIND']) {
      for (const field of ['env', 'secret_env']) {
        const reply = await agent.call('POST', '/run', { command: 'true', [field]: { [name]: 'exit 9' } });
        expect(reply).toMatchObject({ status: 422, body: { error: 'invalid_request' } });
      }
    }
  });

  it('that cut its output leaves nobody waiting for bytes that are gone', async () => {
    await run({ job_id: 'cut', command: 'seq 1 1000' });
    writeFileSync(join(agent.jobDir('cut'), 'out.log'), '');
    expect((await agent.call('GET', '/logs/cut')).body).toEqual({ data: '', next: 0, eof: true });
  });

  it('that says it wrote terabytes does not keep the agent busy with reading them', async () => {
    const sparse = join(scratch, 'sparse');
    writeFileSync(sparse, '');
    execFileSync('truncate', ['-s', '4T', sparse]);
    expect(await hashOf(sparse, 4 * 1024 ** 4)).toBeNull();
  });

  it('whose cgroup did not take it is not proven by that cgroup to be gone', async () => {
    mkdirSync(join(scratch, 'job-refused', 'cgroup.procs'), { recursive: true });
    writeFileSync(join(scratch, 'job-refused', 'cgroup.events'), 'populated 0\n');
    expect(await run({ job_id: 'refused', command: 'exit 3' })).toMatchObject({
      return_code: 3,
      proof: 'group+marker',
    });
  });
});

describe('an orphaned job', () => {
  it('is not stopped before its time because somebody sets the clock', async () => {
    await agent.call('POST', '/run', { job_id: 'clock', command: 'sleep 40', timeout_seconds: 30 });
    const dir = agent.jobDir('clock');
    process.kill(Number(readFileSync(join(dir, 'supervisor'), 'utf8').split(' ')[0]), 'SIGKILL');
    utimesSync(join(dir, 'go'), 1e9, 1e9);
    await agent.restart();
    const { body: before } = await agent.call('GET', '/status/clock');
    await run({ command: 'sleep 1.5' });
    const { body: after } = await agent.call('GET', '/status/clock');
    expect([before.state, after.state]).toEqual(['running', 'running']);
    await agent.call('POST', '/cancel/clock', { signal: 'KILL' });
  });
});
