/** The agent as it is shipped, under systemd as process 1. `script/test-systemd` boots the container for it. */
import { createHash } from 'node:crypto';
import { connect } from 'node:tls';
import { afterEach, beforeAll, describe, expect, it } from 'vitest';
import { until } from '../helpers/until.ts';
import { aliveOf, type ContainerAgent, cgroupOf, connectToAgent, inside } from './container.ts';

const SERVICE_CGROUP = '/system.slice/sluice-agent.service';
const MODES = [
  { name: 'async', use_tmux: false },
  { name: 'tmux', use_tmux: true },
];

/** Two processes without session, descent, environment or manners of their job. */
const ESCAPE = 'setsid env -i sh -c \'(trap "" TERM; sleep 301 & echo $!; wait) & echo $!\'';

let agent: ContainerAgent;
beforeAll(async () => {
  agent = await connectToAgent();
  // Somebody with another group, limits and a profile of their own, as far as limits.d may go in a container.
  await inside('groupadd extra && useradd --create-home --shell /bin/bash --groups extra etl');
  await inside('printf "etl soft nofile 600\\netl hard nofile 800\\n" >/etc/security/limits.d/etl.conf');
  await inside(
    'printf "export FROM_PROFILE=yes\\nPATH=\\$HOME/bin:\\$PATH\\numask 027\\n" >>/home/etl/.profile',
  );
});

/** Starts a command of the user etl that writes `lines` pids, and waits for them. */
async function startAndRead(id: string, command: string, lines: number, more = {}): Promise<number[]> {
  await agent.call('POST', '/run', { job_id: id, command, run_as_user: 'etl', ...more });
  const text = await until(async () => {
    const { stdout } = await agent.status(id);
    return stdout?.trim().split('\n').length >= lines && stdout;
  });
  return text.trim().split('\n').map(Number);
}

describe('the unit', () => {
  it('starts on a host where nothing was prepared, and runs as the documents say', async () => {
    expect(await inside('systemctl is-active sluice-agent')).toBe('active');
    expect(await inside('systemctl show --property NRestarts --value sluice-agent')).toBe('0');
    const { status, body } = await agent.call('POST', '/ping');
    expect({ status, body }).toMatchObject({ status: 200, body: { status: 'ok', protocol: 2 } });
    expect(body.capabilities).toContain('tmux');
  });

  it('keeps the token and the key of the certificate from everybody but root', async () => {
    const modes = await inside(
      'cd /var/lib/sluice-agent && stat -c "%a %U" /etc/sluice/agent-token tls tls/*key*',
    );
    expect(modes.split('\n')).toEqual(['600 root', '700 root', '600 root']);
    await expect(inside('su etl -c "cat /etc/sluice/agent-token"')).rejects.toThrow('Permission denied');
  });

  it('says in the journal which certificate it shows', async () => {
    const [host, port] = agent.address.split(':');
    const shown = await new Promise<Buffer>((resolve, reject) => {
      const socket = connect({ host, port: Number(port), rejectUnauthorized: false }, () => {
        resolve(socket.getPeerCertificate().raw);
        socket.end();
      }).on('error', reject);
    });
    const fingerprint = createHash('sha256').update(shown).digest('hex');
    expect(await inside('journalctl --unit sluice-agent --output cat')).toContain(
      `listening 0.0.0.0:18443 fingerprint ${fingerprint}`,
    );
  });
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

describe.each(MODES)('a job ($name)', ({ name, use_tmux }) => {
  it.each(['etl', null])('is in its own cgroup as %s, not in a session that can be ended', async (user) => {
    const id = `place-${name}-${user}`;
    const [pid] = await startAndRead(id, 'echo $$; exec sleep 300', 1, { use_tmux, run_as_user: user });
    expect(await cgroupOf(pid!)).toBe(`${SERVICE_CGROUP}/job-${id}`);
    const supervisor = await inside(`cut -d ' ' -f 1 /var/lib/sluice-agent/jobs/${id}/supervisor`);
    expect(await cgroupOf(Number(supervisor))).toBe(SERVICE_CGROUP);
    await agent.call('POST', `/cancel/${id}`, { grace_seconds: 0 });
    expect(await inside(`ls -d /sys/fs/cgroup${SERVICE_CGROUP}/job-${id} 2>&1 || true`)).toContain('No such');
  });

  it.each([
    ['systemctl restart', 'systemctl restart sluice-agent'],
    ['kill -9 of the main process', 'systemctl kill --signal KILL --kill-who main sluice-agent'],
    ['systemctl stop and start', 'systemctl stop sluice-agent && systemctl start sluice-agent'],
  ])('survives %s, and its end is told by the new agent', async (_what, how) => {
    const id = `survives-${name}-${createHash('sha1').update(how).digest('hex').slice(0, 6)}`;
    const goOn = `/tmp/${id}.go-on`;
    const command = `echo $$; until [ -e ${goOn} ]; do sleep 0.05; done; echo done; exit 7`;
    const pids = await startAndRead(id, command, 1, { use_tmux });
    const before = await agent.mainPid();
    await inside(how);
    await until(async () => !['0', before].includes(await agent.mainPid()));
    await agent.answers();
    expect(await agent.status(id)).toMatchObject({ state: 'running', status: 'running' });
    expect(await aliveOf(pids)).toEqual(pids);
    await inside(`touch ${goOn}`);
    expect(await agent.over(id)).toMatchObject({
      state: 'ended',
      reason: 'exit',
      return_code: 7,
      proof: 'cgroup',
      stdout: `${pids[0]}\ndone\n`,
    });
  });

  it('that ends while the agent is stopped is over when it is started', async () => {
    const id = `meanwhile-${name}`;
    await startAndRead(id, `echo $$; until [ -e /tmp/${id} ]; do sleep 0.05; done; exit 8`, 1, { use_tmux });
    await inside(`systemctl stop sluice-agent && touch /tmp/${id}`);
    await until(() => inside(`grep end /var/lib/sluice-agent/jobs/${id}/exit`));
    await inside('systemctl start sluice-agent');
    await agent.answers();
    expect(await agent.status(id)).toMatchObject({ state: 'ended', return_code: 8, proof: 'cgroup' });
  });
});

describe.each(MODES)('the tree of a job ($name)', ({ name, use_tmux }) => {
  it('is killed by cancel and proven by its cgroup, also what hid from everything else', async () => {
    const pids = await startAndRead(`cancel-${name}`, `${ESCAPE}; echo $$; sleep 300`, 3, { use_tmux });
    const { body } = await agent.call('POST', `/cancel/cancel-${name}`, { grace_seconds: 0 });
    expect(body).toMatchObject({ reason: 'canceled', proof: 'cgroup', remaining_pids: [] });
    expect(await aliveOf(pids)).toEqual([]);
  });

  it('is killed by an agent that was restarted in between', async () => {
    const pids = await startAndRead(`again-${name}`, `${ESCAPE}; echo $$; sleep 300`, 3, { use_tmux });
    await inside('systemctl restart sluice-agent');
    await agent.answers();
    const { body } = await agent.call('POST', `/cancel/again-${name}`, { grace_seconds: 0 });
    expect(body).toMatchObject({ reason: 'canceled', proof: 'cgroup', remaining_pids: [] });
    expect(await aliveOf(pids)).toEqual([]);
  });
});

describe('timeout_seconds', () => {
  it('kills both kinds of tree while the agent is stopped, and proves it by their cgroups', async () => {
    const pids = await Promise.all(
      MODES.map(({ name, use_tmux }) =>
        startAndRead(`timeout-${name}`, `${ESCAPE}; echo $$; sleep 300`, 3, { use_tmux, timeout_seconds: 3 }),
      ),
    );
    await inside('systemctl stop sluice-agent');
    for (const { name } of MODES) {
      const exit = `/var/lib/sluice-agent/jobs/timeout-${name}/exit`;
      await until(() => inside(`grep end ${exit}`), { timeoutMs: 30_000, everyMs: 200 });
    }
    await inside('systemctl start sluice-agent');
    await agent.answers();
    for (const { name } of MODES) {
      const job = await agent.status(`timeout-${name}`);
      expect(job).toMatchObject({ reason: 'timeout', return_code: null, proof: 'cgroup' });
    }
    expect(await aliveOf(pids.flat())).toEqual([]);
  });
});

describe('what a job leaves behind on purpose', () => {
  let left: number[] = [];
  afterEach(() => inside(`kill -9 ${left.join(' ')} || true`));

  it('survives its end and a restart of the agent, and is counted', async () => {
    const command = 'setsid env -i sleep 302 >/dev/null 2>&1 & echo $!; exit 3';
    const job = await agent.run({ job_id: 'leaves', command, run_as_user: 'etl', leftovers: 'keep' });
    expect(job).toMatchObject({ return_code: 3, leftover_processes: 1, proof: 'group+marker' });
    left = [Number(job.stdout)];
    expect(await aliveOf(left)).toEqual(left);
    await inside('systemctl restart sluice-agent');
    await agent.answers();
    expect(await agent.status('leaves')).toMatchObject({ return_code: 3, leftover_processes: 1 });
    expect(await aliveOf(left)).toEqual(left);
    expect(await cgroupOf(left[0]!)).toBe(`${SERVICE_CGROUP}/job-leaves`);
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
