/**
 * The agent as it is shipped, under systemd as process 1: its unit, and what its jobs survive and do not survive.
 * `script/test-systemd` boots the container for it.
 */
import { createHash } from 'node:crypto';
import { connect } from 'node:tls';
import { afterEach, beforeAll, describe, expect, it } from 'vitest';
import { until } from '../helpers/until.ts';
import {
  aliveOf,
  type ContainerAgent,
  cgroupOf,
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

describe.each(MODES)('a job ($name)', ({ name, use_tmux }) => {
  it.each(['etl', null])('is in its own cgroup as %s, not in a session that can be ended', async (user) => {
    const id = `place-${name}-${user}`;
    const [pid] = await agent.startAndRead(id, 'echo $$; exec sleep 300', 1, { use_tmux, run_as_user: user });
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
    const pids = await agent.startAndRead(id, command, 1, { use_tmux });
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
    await agent.startAndRead(id, `echo $$; until [ -e /tmp/${id} ]; do sleep 0.05; done; exit 8`, 1, {
      use_tmux,
    });
    await inside(`systemctl stop sluice-agent && touch /tmp/${id}`);
    await until(() => inside(`grep end /var/lib/sluice-agent/jobs/${id}/exit`));
    await inside('systemctl start sluice-agent');
    await agent.answers();
    expect(await agent.status(id)).toMatchObject({ state: 'ended', return_code: 8, proof: 'cgroup' });
  });
});

describe.each(MODES)('the tree of a job ($name)', ({ name, use_tmux }) => {
  it('is killed by cancel and proven by its cgroup, also what hid from everything else', async () => {
    const pids = await agent.startAndRead(`cancel-${name}`, `${ESCAPE}; echo $$; sleep 300`, 3, { use_tmux });
    const { body } = await agent.call('POST', `/cancel/cancel-${name}`, { grace_seconds: 0 });
    expect(body).toMatchObject({ reason: 'canceled', proof: 'cgroup', remaining_pids: [] });
    expect(await aliveOf(pids)).toEqual([]);
  });

  it('is killed by an agent that was restarted in between', async () => {
    const pids = await agent.startAndRead(`again-${name}`, `${ESCAPE}; echo $$; sleep 300`, 3, { use_tmux });
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
        agent.startAndRead(`timeout-${name}`, `${ESCAPE}; echo $$; sleep 300`, 3, {
          use_tmux,
          timeout_seconds: 3,
        }),
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
