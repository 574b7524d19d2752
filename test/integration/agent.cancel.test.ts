/** Cancel and timeout kill everything that can be found, and say how they know. */
import { existsSync, mkdirSync, readFileSync, rmdirSync } from 'node:fs';
import { setTimeout as pause } from 'node:timers/promises';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { isAlive } from '../helpers/alive.ts';
import { type RealAgent, startRealAgent } from '../helpers/real-agent.ts';
import { until } from '../helpers/until.ts';

let agent: RealAgent;
beforeAll(async () => {
  agent = await startRealAgent();
});
afterAll(() => agent.stop());

/** Starts the command and waits until it has written `lines` lines: the pids that it names. */
async function startAndRead(
  on: RealAgent,
  id: string,
  command: string,
  lines: number,
  more = {},
): Promise<number[]> {
  await on.call('POST', '/run', { job_id: id, command, ...more });
  const text = await until(async () => {
    const { stdout } = (await on.call('GET', `/status/${id}`)).body;
    return stdout.trim().split('\n').length >= lines && stdout !== '' && stdout;
  });
  return text.trim().split('\n').map(Number);
}

describe('POST /cancel', () => {
  it('takes no body, sends TERM, and answers when the tree is gone', async () => {
    const pids = await startAndRead(agent, 'plain', 'sleep 60 & echo $!; echo $$; sleep 60', 2);
    const { body } = await agent.call('POST', '/cancel/plain');
    expect(body).toMatchObject({
      status: 'cancelled',
      state: 'ended',
      reason: 'canceled',
      return_code: 143,
      signal: 'TERM',
      proof: 'group+marker',
      remaining_pids: [],
    });
    expect(pids.filter(isAlive)).toEqual([]);
  });

  it('finds a process that forked twice into a session of its own', async () => {
    const daemon = 'setsid sh -c \'(trap "" TERM HUP; sleep 61 & echo $!; wait) & echo $!\'';
    const pids = await startAndRead(agent, 'daemon', `${daemon}; sleep 60`, 2);
    const { body } = await agent.call('POST', '/cancel/daemon', { signal: 'TERM', grace_seconds: 0 });
    expect(body).toMatchObject({ reason: 'canceled', remaining_pids: [], proof: 'group+marker' });
    expect(pids.filter(isAlive)).toEqual([]);
  });

  it('kills what ignores the signal once the grace is over', async () => {
    const pids = await startAndRead(agent, 'stubborn', 'trap "" TERM; echo $$; sleep 60; sleep 60', 1);
    const { body } = await agent.call('POST', '/cancel/stubborn', { grace_seconds: 1 });
    expect(body).toMatchObject({ reason: 'canceled', return_code: 137, signal: 'KILL', remaining_pids: [] });
    expect(pids.filter(isAlive)).toEqual([]);
  });

  it('keeps the code of a command that cleans up and exits', async () => {
    await startAndRead(agent, 'tidy', 'trap "exit 3" INT; echo 1; while :; do sleep 0.1; done', 1);
    const { body } = await agent.call('POST', '/cancel/tidy', { signal: 'SIGINT', grace_seconds: 5 });
    expect(body).toMatchObject({ status: 'cancelled', reason: 'canceled', return_code: 3, signal: null });
  });

  it('in another store than the one it is meant for is refused, and leaves no tombstone', async () => {
    const { store_id } = (await agent.call('POST', '/ping')).body;
    const other = await agent.call('POST', '/cancel/moved', { expect_store_id: `not-${store_id}` });
    expect(other).toMatchObject({ status: 409, body: { error: 'store_changed' } });
    const start = { job_id: 'moved', command: 'echo begun', wait_seconds: 10 };
    expect((await agent.call('POST', '/run', start)).body).toMatchObject({ stdout: 'begun\n' });
    const { status } = await agent.call('POST', '/cancel/moved', { expect_store_id: store_id });
    expect(status).toBe(200);
  });

  it('leaves a job that is over as it was', async () => {
    await agent.call('POST', '/run', { job_id: 'over', command: 'exit 6', wait_seconds: 10 });
    const { status, body } = await agent.call('POST', '/cancel/over');
    expect(status).toBe(200);
    expect(body).toMatchObject({ status: 'finished', reason: 'exit', return_code: 6 });
  });

  it('wins or loses against the start, but never hangs, at whatever moment it comes', async () => {
    const ids = Array.from({ length: 16 }, (_, index) => `early-${index}`);
    const ends = ids.map(async (id, index) => {
      const started = agent.call('POST', '/run', { job_id: id, command: 'sleep 60', wait_seconds: 20 });
      await pause(index * 6);
      const { status, body } = await agent.call('POST', `/cancel/${id}`);
      expect({ status, state: body.state, reason: body.reason }).toEqual({
        status: 200,
        state: 'ended',
        reason: 'canceled',
      });
      const { status: runStatus, body: run } = await started;
      expect(runStatus === 409 ? run.error : run.reason).toMatch(/^cancel/);
    });
    await Promise.all(ends);
  });

  it('refuses a signal that there is not', async () => {
    expect(await agent.call('POST', '/cancel/over', { signal: 'NONSENSE' })).toMatchObject({ status: 422 });
    expect(await agent.call('POST', '/cancel/over', { signal: '9; id' })).toMatchObject({ status: 422 });
  });

  it('escalates at once when it is asked again with KILL', async () => {
    await startAndRead(agent, 'again', 'trap "" TERM; echo 1; sleep 60; sleep 60', 1);
    const patient = agent.call('POST', '/cancel/again', { grace_seconds: 50 });
    await until(() => existsSync(`${agent.jobDir('again')}/stopper`));
    const { body } = await agent.call('POST', '/cancel/again', { signal: 'KILL' });
    expect(body).toMatchObject({ reason: 'canceled', return_code: 137 });
    expect((await patient).body).toMatchObject({ reason: 'canceled', remaining_pids: [] });
  });
});

describe('timeout_seconds', () => {
  it('ends a command as timeout, without a code', async () => {
    const { body } = await agent.call('POST', '/run', {
      command: 'sleep 60',
      timeout_seconds: 1,
      wait_seconds: 20,
    });
    expect(body).toMatchObject({
      status: 'failed',
      state: 'ended',
      reason: 'timeout',
      return_code: null,
      signal: null,
    });
  });

  it('holds when the timer alone was killed', async () => {
    const run = { job_id: 'untimed', command: 'sleep 60', timeout_seconds: 2 };
    await agent.call('POST', '/run', run);
    const keeper = await until(() => Number(readFileSync(`${agent.jobDir('untimed')}/keeper`, 'utf8')));
    await until(() => {
      const [child] = readFileSync(`/proc/${keeper}/task/${keeper}/children`, 'utf8').split(' ');
      return child && readFileSync(`/proc/${child}/cmdline`, 'latin1').startsWith('sleep');
    });
    process.kill(keeper, 'SIGKILL');
    const body = await until(async () => {
      const now = (await agent.call('GET', '/status/untimed')).body;
      return now.state === 'ended' && now;
    });
    expect(body).toMatchObject({ reason: 'timeout', return_code: null, remaining_pids: [] });
  });

  it('leaves nothing of its timer behind when the command ends in time', async () => {
    await agent.call('POST', '/run', { command: 'exit 0', timeout_seconds: 777_123, wait_seconds: 20 });
    const timers = await agent.call('POST', '/run', {
      command: 'pgrep -fc "sleep 77712[3]"',
      wait_seconds: 20,
    });
    expect(timers.body.stdout).toBe('0\n');
  });
});

const UNIFIED = ['/sys/fs/cgroup/unified', '/sys/fs/cgroup'].find((path) =>
  existsSync(`${path}/cgroup.procs`),
);
const canCgroup = process.getuid?.() === 0 && UNIFIED !== undefined;

describe.skipIf(!canCgroup)('with a cgroup of its own (needs root and cgroup v2)', () => {
  const cgroup = `${UNIFIED}/sluice-test-${process.pid}`;
  let owner: RealAgent;
  beforeAll(async () => {
    mkdirSync(cgroup);
    owner = await startRealAgent({ args: ['--cgroup', cgroup] });
  });
  afterAll(async () => {
    await owner.stop();
    await until(() => {
      rmdirSync(cgroup);
      return true;
    });
  });

  it('kills what has hidden its environment, session and descent, and proves it by the cgroup', async () => {
    const hide = 'setsid env -i sh -c \'(trap "" TERM; sleep 62 & echo $!; wait) & echo $!\'';
    const pids = await startAndRead(owner, 'hidden', `${hide}; sleep 60`, 2, { run_as_user: 'nobody' });
    const { body } = await owner.call('POST', '/cancel/hidden', { grace_seconds: 0 });
    expect(body).toMatchObject({ reason: 'canceled', proof: 'cgroup', remaining_pids: [] });
    expect(pids.filter(isAlive)).toEqual([]);
    expect(existsSync(`${cgroup}/job-hidden`)).toBe(false);
  });

  it('proves a natural end by the cgroup', async () => {
    const { body } = await owner.call('POST', '/run', { command: 'exit 2', wait_seconds: 10 });
    expect(body).toMatchObject({ return_code: 2, proof: 'cgroup', leftover_processes: 0 });
  });
});
