/**
 * The container that `script/test-systemd` has booted, with the agent installed in it: commands inside as root, and
 * the agent from outside, over TLS.
 */
import { execFile } from 'node:child_process';
import { promisify } from 'node:util';
import { call } from '../helpers/real-agent.ts';
import { until } from '../helpers/until.ts';

const container = process.env.SLUICE_SYSTEMD_CONTAINER;

export const SERVICE_CGROUP = '/system.slice/sluice-agent.service';

/** The two ways in which a job is run. */
export const MODES = [
  { name: 'async', use_tmux: false },
  { name: 'tmux', use_tmux: true },
];

/** Two processes without session, descent, environment or manners of their job. */
export const ESCAPE = 'setsid env -i sh -c \'(trap "" TERM; sleep 301 & echo $!; wait) & echo $!\'';

/** Runs a line of shell in the container, as root. @returns what it said; throws where it failed */
export async function inside(line: string): Promise<string> {
  if (!container) throw new Error('SLUICE_SYSTEMD_CONTAINER is not set: run script/test-systemd');
  const { stdout } = await promisify(execFile)('podman', ['exec', container, 'sh', '-c', line]);
  return stdout.trimEnd();
}

/** The agent of the container; waits until it answers. */
export async function connectToAgent() {
  const { stdout } = await promisify(execFile)('podman', ['port', String(container), '18443']);
  const address = stdout.trim();
  const token = await until(() => inside('cat /etc/sluice/agent-token'));

  const agent = {
    address,
    call: (method: string, path: string, body?: unknown) =>
      call(address, method, path, body, { 'x-agent-token': token }),
    status: async (id: string) => (await agent.call('GET', `/status/${id}`)).body,
    /** Waits for the end of a job. */
    over: (id: string) =>
      until(async () => {
        const job = await agent.status(id);
        return (job.state === 'ended' || job.state === 'lost') && job;
      }),
    /** Runs a command to its end. */
    run: async (request: Record<string, unknown>) =>
      (await agent.call('POST', '/run', { wait_seconds: 20, ...request })).body,
    /** Starts a command of the user etl that writes `lines` pids, and waits for them. */
    async startAndRead(id: string, command: string, lines: number, more = {}): Promise<number[]> {
      await agent.call('POST', '/run', { job_id: id, command, run_as_user: 'etl', ...more });
      const text = await until(async () => {
        const { stdout } = await agent.status(id);
        return stdout?.trim().split('\n').length >= lines && stdout;
      });
      return text.trim().split('\n').map(Number);
    },
    answers: () => until(async () => (await agent.call('POST', '/ping')).status === 200),
    mainPid: () => inside(`systemctl show --property MainPID --value sluice-agent`),
  };
  await agent.answers();
  await addUser();
  return agent;
}

/** etl: with another group, limits and a profile of its own. limits.d may only lower what a container has. */
async function addUser(): Promise<void> {
  if (await inside('getent passwd etl || true')) return;
  await inside('groupadd extra && useradd --create-home --shell /bin/bash --groups extra etl');
  await inside('printf "etl soft nofile 600\\netl hard nofile 800\\n" >/etc/security/limits.d/etl.conf');
  await inside(
    'printf "export FROM_PROFILE=yes\\nPATH=\\$HOME/bin:\\$PATH\\numask 027\\n" >>/home/etl/.profile',
  );
}

export type ContainerAgent = Awaited<ReturnType<typeof connectToAgent>>;

/** Those of `pids` that are alive in the container; a zombie is not. */
export async function aliveOf(pids: number[]): Promise<number[]> {
  const states = await inside(`ps -o pid=,stat= -p ${pids.join(',')} || true`);
  return states
    .split('\n')
    .map((line) => line.trim().split(/\s+/))
    .filter(([pid, state]) => pid && !state?.startsWith('Z'))
    .map(([pid]) => Number(pid));
}

/** The v2 cgroup of a process of the container. */
export const cgroupOf = async (pid: number): Promise<string> =>
  (await inside(`sed -n 's/^0:://p' /proc/${pid}/cgroup`)).trim();
