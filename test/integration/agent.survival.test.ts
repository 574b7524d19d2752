/** What a job survives: the death of the agent, of its supervisor, of both; and what a reboot means. */
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { type RealAgent, startRealAgent } from '../helpers/real-agent.ts';
import { until } from '../helpers/until.ts';

let agent: RealAgent;
let scratch: string;
beforeAll(async () => {
  agent = await startRealAgent();
  scratch = mkdtempSync(join(tmpdir(), 'agent-survival-'));
});
afterAll(async () => {
  await agent.stop();
  rmSync(scratch, { recursive: true });
});

const pidIn = (on: RealAgent, id: string, name: string) =>
  Number(readFileSync(join(on.jobDir(id), name), 'utf8').split(' ')[0]);

const statusOf = async (id: string, on = agent) => (await on.call('GET', `/status/${id}`)).body;

const over = (id: string, on = agent) =>
  until(async () => {
    const job = await statusOf(id, on);
    return (job.state === 'ended' || job.state === 'lost') && job;
  });

/** A command that runs until the file `go-on` is there, then says so and exits with `code`. */
function patient(name: string, code: number) {
  const file = join(scratch, `${name}.go-on`);
  const command = `echo begun; until [ -e ${file} ]; do sleep 0.05; done; echo done; exit ${code}`;
  return { command, letGo: () => writeFileSync(file, '') };
}

describe('kill -9', () => {
  it('of the agent: the job goes on, and its end is there after the restart', async () => {
    const job = patient('agent', 7);
    await agent.call('POST', '/run', { job_id: 'k-agent', command: job.command });
    await agent.restart();
    expect(await statusOf('k-agent')).toMatchObject({
      state: 'running',
      status: 'running',
      stdout: 'begun\n',
    });
    job.letGo();
    expect(await over('k-agent')).toMatchObject({ return_code: 7, stdout: 'begun\ndone\n', reason: 'exit' });
  });

  it('of the agent: a job that ends meanwhile is over when the agent is back', async () => {
    const job = patient('meanwhile', 8);
    await agent.call('POST', '/run', { job_id: 'k-while', command: job.command });
    await agent.kill('SIGKILL');
    job.letGo();
    await until(() => readFileSync(join(agent.jobDir('k-while'), 'exit'), 'utf8').includes('end'));
    await agent.restart();
    expect(await statusOf('k-while')).toMatchObject({ state: 'ended', return_code: 8, stdout_bytes: 11 });
  });

  it('of the supervisor: the job goes on, and its code is rescued', async () => {
    const job = patient('supervisor', 9);
    await agent.call('POST', '/run', { job_id: 'k-sup', command: job.command });
    process.kill(pidIn(agent, 'k-sup', 'supervisor'), 'SIGKILL');
    expect(await statusOf('k-sup')).toMatchObject({ state: 'running' });
    job.letGo();
    expect(await over('k-sup')).toMatchObject({ state: 'ended', return_code: 9, reason: 'exit' });
  });

  it('of both: the code is rescued after the restart', async () => {
    const job = patient('both', 10);
    await agent.call('POST', '/run', { job_id: 'k-both', command: job.command });
    process.kill(pidIn(agent, 'k-both', 'supervisor'), 'SIGKILL');
    await agent.kill('SIGKILL');
    job.letGo();
    await agent.restart();
    expect(await over('k-both')).toMatchObject({ state: 'ended', return_code: 10 });
  });

  it('of the supervisor and everything of the command: lost, exit_unknown', async () => {
    await agent.call('POST', '/run', { job_id: 'k-all', command: 'sleep 60' });
    process.kill(pidIn(agent, 'k-all', 'supervisor'), 'SIGKILL');
    process.kill(pidIn(agent, 'k-all', 'child'), 'SIGKILL');
    expect(await over('k-all')).toMatchObject({ state: 'lost', reason: 'exit_unknown', return_code: null });
  });

  it('of a supervisor does not keep its job from being cancelled', async () => {
    await agent.call('POST', '/run', { job_id: 'k-cancel', command: 'sleep 60' });
    process.kill(pidIn(agent, 'k-cancel', 'supervisor'), 'SIGKILL');
    const { body } = await agent.call('POST', '/cancel/k-cancel');
    expect(body).toMatchObject({ reason: 'canceled', return_code: 143, remaining_pids: [] });
  });
});

describe('the timeout', () => {
  it('holds while the agent is dead, against a tree that ignores TERM', async () => {
    const doomed = await startRealAgent();
    const command = 'trap "" TERM; (trap "" TERM; sleep 63) & sleep 63; sleep 63';
    await doomed.call('POST', '/run', { job_id: 't-dead', command, timeout_seconds: 1 });
    await doomed.kill('SIGKILL');
    await until(() => readFileSync(join(doomed.jobDir('t-dead'), 'exit'), 'utf8').includes('end'), {
      timeoutMs: 25_000,
    });
    await doomed.restart();
    expect(await statusOf('t-dead', doomed)).toMatchObject({
      state: 'ended',
      reason: 'timeout',
      return_code: null,
      remaining_pids: [],
    });
    await doomed.stop();
  });

  it('holds when agent and supervisor are both dead', async () => {
    const doomed = await startRealAgent();
    await doomed.call('POST', '/run', { job_id: 't-both', command: 'sleep 64', timeout_seconds: 2 });
    process.kill(pidIn(doomed, 't-both', 'supervisor'), 'SIGKILL');
    await doomed.kill('SIGKILL');
    await until(() => readFileSync(join(doomed.jobDir('t-both'), 'reason'), 'utf8') === 'timeout\n');
    await doomed.restart();
    expect(await over('t-both', doomed)).toMatchObject({ reason: 'timeout', return_code: null });
    await doomed.stop();
  });
});

describe('the start', () => {
  it('is made up for when the agent died between accepting and starting', async () => {
    await agent.call('POST', '/run', { job_id: 'model', command: 'echo late; exit 4', wait_seconds: 10 });
    const late = await startRealAgent();
    await late.call('POST', '/run', { job_id: 'accepted', command: 'echo late; exit 4', wait_seconds: 10 });
    await late.kill('SIGKILL');
    rewind(late.jobDir('accepted'));
    await late.restart();
    expect(await over('accepted', late)).toMatchObject({ state: 'ended', return_code: 4, stdout: 'late\n' });
    await late.stop();
  });

  it('is certified never to have been where its secrets died with the agent, and may then be made again', async () => {
    const late = await startRealAgent();
    const request = { job_id: 'secret', command: 'echo $PW', secret_env: { PW: 'x' }, wait_seconds: 10 };
    await late.call('POST', '/run', request);
    await late.kill('SIGKILL');
    rewind(late.jobDir('secret'));
    await late.restart();
    expect(await over('secret', late)).toMatchObject({ state: 'ended', reason: 'never_ran' });
    expect((await late.call('POST', '/run', request)).body).toMatchObject({ return_code: 0, stdout: 'x\n' });
    await late.stop();
  });

  it('is certified never to have been where the supervisor died before the gate, and may then be made again', async () => {
    const never = await startRealAgent();
    const request = { job_id: 'never', command: 'echo ran; exit 4', wait_seconds: 10 };
    await never.call('POST', '/run', request);
    await never.kill('SIGKILL');
    const dir = never.jobDir('never');
    rewind(dir);
    mkdirSync(join(dir, 'started'));
    writeFileSync(
      join(dir, 'supervisor'),
      readFileSync('/proc/sys/kernel/random/boot_id', 'utf8').replace(/^/, '2 1 '),
    );
    await never.restart();
    expect(await over('never', never)).toMatchObject({
      state: 'ended',
      reason: 'never_ran',
      return_code: null,
    });
    const again = await never.call('POST', '/run', request);
    expect(again.body).toMatchObject({ return_code: 4, stdout: 'ran\n', reason: 'exit' });
    expect(again.body.existing).toBeUndefined();
    await never.stop();
  });

  it('never comes once a job that never ran was cancelled', async () => {
    const late = await startRealAgent();
    const request = { job_id: 'given-up', command: 'echo ran', secret_env: { PW: 'x' }, wait_seconds: 10 };
    await late.call('POST', '/run', request);
    await late.kill('SIGKILL');
    rewind(late.jobDir('given-up'));
    await late.restart();
    expect(await over('given-up', late)).toMatchObject({ reason: 'never_ran' });
    expect((await late.call('POST', '/cancel/given-up')).body).toMatchObject({ reason: 'canceled' });
    for (const restarted of [false, true]) {
      if (restarted) await late.restart();
      expect(await late.call('POST', '/run', request)).toMatchObject({
        status: 409,
        body: { error: 'canceled_before_start' },
      });
    }
    await late.stop();
  });
});

describe('a reboot', () => {
  it('makes what had not ended lost, leaves what had ended, and never starts anything', async () => {
    const bootIdFile = join(scratch, 'boot_id');
    writeFileSync(bootIdFile, '11111111-1111-4111-8111-111111111111\n');
    const host = await startRealAgent({ args: ['--boot-id-file', bootIdFile] });
    await host.call('POST', '/run', { job_id: 'b-over', command: 'exit 3', wait_seconds: 10 });
    await host.call('POST', '/run', { job_id: 'b-running', command: 'sleep 65' });
    for (const job_id of ['b-accepted', 'b-torn']) {
      await host.call('POST', '/run', { job_id, command: 'exit 0', wait_seconds: 10 });
    }
    await host.kill('SIGKILL');
    rewind(host.jobDir('b-accepted'));
    // The power went while the process was written down that was to become the command.
    rewind(host.jobDir('b-torn'));
    writeFileSync(join(host.jobDir('b-torn'), 'child'), '12');
    writeFileSync(bootIdFile, '22222222-2222-4222-8222-222222222222\n');
    await host.restart();
    expect(await statusOf('b-over', host)).toMatchObject({ state: 'ended', return_code: 3 });
    expect(await statusOf('b-running', host)).toMatchObject({
      state: 'lost',
      reason: 'reboot',
      return_code: null,
    });
    for (const id of ['b-accepted', 'b-torn']) {
      expect(await statusOf(id, host)).toMatchObject({ state: 'ended', reason: 'never_ran' });
    }
    await host.stop();
  });
});

describe('the spool', () => {
  it('has a new store_id when it is new, and a second agent cannot use it', async () => {
    const { body: before } = await agent.call('POST', '/ping');
    await expect(startRealAgent({ dataDir: agent.dataDir })).rejects.toThrow(/in use/);
    await agent.restart();
    expect((await agent.call('POST', '/ping')).body.store_id).toBe(before.store_id);
    const other = await startRealAgent();
    expect((await other.call('POST', '/ping')).body.store_id).not.toBe(before.store_id);
    await other.stop();
  });
});

/** Takes a job's directory back to how it was when it had been accepted and not started. */
function rewind(dir: string): void {
  for (const name of [
    'started',
    'go',
    'child',
    'supervisor',
    'keeper',
    'finishing',
    'reason',
    'exit',
    'result.json',
    'in/gate',
    'in/hello',
    'u/rc',
    'u/note',
    'u/over',
  ]) {
    rmSync(join(dir, name), { recursive: true, force: true });
  }
  for (const name of ['out.log', 'err.log']) writeFileSync(join(dir, name), '');
}
