/**
 * The container that `script/test-systemd` has booted, with the agent installed in it: commands inside as root, and
 * the agent from outside, over TLS.
 */
import { execFile } from 'node:child_process';
import { promisify } from 'node:util';
import { call } from '../helpers/real-agent.ts';
import { until } from '../helpers/until.ts';

const container = process.env.SLUICE_SYSTEMD_CONTAINER;
const UNIT = 'sluice-agent';

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
    answers: () => until(async () => (await agent.call('POST', '/ping')).status === 200),
    mainPid: () => inside(`systemctl show --property MainPID --value ${UNIT}`),
  };
  await agent.answers();
  return agent;
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
