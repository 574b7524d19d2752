/** Commands of other users, in sessions that logind knows: what they see, and what happens to them with the session. */
import { beforeAll, describe, expect, it } from 'vitest';
import { until } from '../helpers/until.ts';
import {
  aliveOf,
  type ContainerAgent,
  connectToAgent,
  ESCAPE,
  inside,
  MODES,
  SERVICE_CGROUP,
} from './container.ts';

let agent: ContainerAgent;
beforeAll(async () => {
  agent = await connectToAgent();
});

describe('a command of another user', () => {
  /**
   * Everything that a process inherits. What may differ, and why:
   * SLUICE_JOB_ID and SLUICE_JOB_MARK are what the agent adds; XDG_SESSION_ID is the number of the login session, and
   * each of the two has one of its own.
   */
  const MAY_DIFFER = /^(SLUICE_JOB_ID|SLUICE_JOB_MARK|XDG_SESSION_ID)=.*\n/gm;
  const EVERYTHING = [
    'env | sort; id; pwd; umask; nice; ulimit -Sa; ulimit -Ha; cat /proc/self/oom_score_adj',
    'grep -E "^(Groups|NoNewPrivs|Seccomp|Cap|Sig(Ign|Blk))" /proc/self/status',
  ].join('; ');

  it('sees what `su - USER -c` shows in a shell that systemd has started', async () => {
    const su = `su - etl -c '${EVERYTHING}'`;
    // A login is no child of the engine's `exec`, whose limits are the engine's. A shell does not ignore SIGPIPE.
    const shell = 'systemd-run --quiet --pipe --wait --collect -p IgnoreSIGPIPE=no sh -c';
    const expected = await inside(`${shell} "$(cat <<'LINE'\n${su}\nLINE\n)" </dev/null`);
    const job = await agent.run({ command: EVERYTHING, run_as_user: 'etl' });
    expect(job).toMatchObject({ return_code: 0, proof: 'cgroup' });
    expect(job.stdout.replace(MAY_DIFFER, '').trimEnd()).toBe(expected.replace(MAY_DIFFER, ''));
    // What is equal is also what was asked for, not two times nothing.
    for (const line of [
      'FROM_PROFILE=yes',
      '0027',
      'XDG_RUNTIME_DIR=/run/user/',
      '(extra)',
      'PATH=/home/etl/bin:',
    ])
      expect(expected).toContain(line);
    expect(expected).toMatch(/^open files .* 600$/m);
    expect(expected).toMatch(/^open files .* 800$/m);
  });

  it('inherits nothing of what the unit sets for the agent itself', async () => {
    const { stdout } = await agent.run({ command: 'cat /proc/self/oom_score_adj; env', run_as_user: null });
    expect(stdout.split('\n')[0]).toBe('0');
    expect(stdout).not.toMatch(/INVOCATION_ID|JOURNAL_STREAM|CONFIGURATION_DIRECTORY|SLUICE_AGENT_LISTEN/);
  });
});

describe('a session that is ended from outside', () => {
  const processesOf = (id: string) =>
    inside(`cat /sys/fs/cgroup${SERVICE_CGROUP}/job-${id}/cgroup.procs 2>/dev/null || true`);

  it('by a kill of su: the job goes on, and ends with its own code', async () => {
    const command = 'echo $$; until [ -e /tmp/su-killed ]; do sleep 0.05; done; exit 7';
    const pids = await agent.startAndRead('su-killed', command, 1);
    const [su] = (await inside('pgrep --uid root --exact su')).split('\n');
    await inside(`kill -9 ${su}`);
    expect(await aliveOf(pids)).toEqual(pids);
    expect(await agent.status('su-killed')).toMatchObject({ state: 'running' });
    await inside('touch /tmp/su-killed');
    expect(await agent.over('su-killed')).toMatchObject({ reason: 'exit', return_code: 7, proof: 'cgroup' });
  });

  it('by logind: what su takes along is told as over only once all of it is', async () => {
    await agent.startAndRead('terminated', `${ESCAPE}; echo $$; sleep 300`, 3);
    await inside('loginctl terminate-user etl');
    expect(await agent.over('terminated')).toMatchObject({
      state: 'ended',
      reason: 'signal',
      signal: 'TERM',
      return_code: 143,
      leftover_processes: 0,
      proof: 'cgroup',
    });
    expect(await processesOf('terminated')).toBe('');
  });

  it('by logind: a job in tmux goes on without its window, and ends with its own code and output', async () => {
    const command = 'echo $$; until [ -e /tmp/windowless ]; do sleep 0.05; done; echo done; exit 7';
    const pids = await agent.startAndRead('windowless', command, 1, { use_tmux: true });
    await inside('loginctl terminate-user etl');
    await until(async () => (await inside('pgrep --exact su || true')) === '');
    expect(await aliveOf(pids)).toEqual(pids);
    await inside('touch /tmp/windowless');
    expect(await agent.over('windowless')).toMatchObject({
      reason: 'exit',
      return_code: 7,
      stdout: `${pids[0]}\ndone\n`,
    });
  });
});

describe('logind that kills what a session leaves (KillUserProcesses=yes)', () => {
  beforeAll(async () => {
    await inside('mkdir -p /etc/systemd/logind.conf.d');
    await inside('printf "[Login]\\nKillUserProcesses=yes\\n" >/etc/systemd/logind.conf.d/kill.conf');
    await inside('systemctl restart systemd-logind');
  });

  it.each(MODES)('leaves a job ($name) and its runtime directory alone', async ({ name, use_tmux }) => {
    const command = 'sleep 1; [ -d "$XDG_RUNTIME_DIR" ] && exit 5';
    const job = await agent.run({ job_id: `logind-${name}`, command, run_as_user: 'etl', use_tmux });
    expect(job).toMatchObject({ state: 'ended', reason: 'exit', return_code: 5, proof: 'cgroup' });
  });

  it('leaves alone what a job leaves behind on purpose', async () => {
    const job = await agent.run({
      command: 'setsid sleep 303 >/dev/null 2>&1 & echo $!',
      run_as_user: 'etl',
    });
    expect(job).toMatchObject({ return_code: 0, leftover_processes: 1 });
    await until(async () => (await inside('loginctl list-sessions --no-legend')) === '');
    expect(await aliveOf([Number(job.stdout)])).toEqual([Number(job.stdout)]);
    await inside(`kill -9 ${job.stdout}`);
  });
});
