/**
 * The hosts of a world: our own agent in several copies, one of them with its spool on a small file system, and Base
 * agents of every generation, one with the launcher switched off. Each is a process behind a proxy of its own; its jobs
 * outlive it, as on a real host.
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync } from 'node:fs';
import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { isAlive } from '../helpers/alive.ts';
import { startRealAgent } from '../helpers/real-agent.ts';
import type { MutationName } from '../mutations/mutations.ts';
import type { KeptBaseAgent } from './base-agent.process.ts';
import { preloaded } from './gateway.ts';
import { type FaultyProxy, startProxy } from './proxy.ts';

/** Who keeps a start to at most one: the agent, the launcher, or nobody. */
export type HostKind = 'full' | 'launcher' | 'bare';

export interface HostPlan {
  name: string;
  kind: HostKind;
  /** Base agents only. */
  generation?: 'A' | 'B' | 'C';
  maxJobs?: number;
  maxRequests?: number;
  /** How many jobs it gets, against the others. */
  share: number;
  /** Where its data goes; a directory of its own by default. */
  dataDir?: string;
}

export interface RigHost extends HostPlan {
  proxy: FaultyProxy;
  /** The body of its `PUT /v1/hosts/{name}`. */
  registration: Record<string, unknown>;
  pid(): number;
  kill(): Promise<void>;
  /** Kills it first where it runs. @param args more of its command line, for this life only */
  restart(args?: string[]): Promise<void>;
  signal(signal: NodeJS.Signals): void;
  /** Where this host keeps what it knows of the jobs that it was told to start, for evidence. */
  jobsDir: string;
  stop(): Promise<void>;
}

const BASE_AGENT = fileURLToPath(new URL('base-agent.process.ts', import.meta.url));

/** @param mutation of our own agents */
export async function startHost(
  dir: string,
  plan: HostPlan,
  mutation: MutationName | null,
): Promise<RigHost> {
  const agent = plan.kind === 'full' ? await startFull(dir, plan, mutation) : await startBase(dir, plan);
  const proxy = await startProxy(`${plan.name} < workers`, agent.address);
  return {
    ...plan,
    ...agent,
    proxy,
    registration: {
      address: proxy.address,
      token: agent.token,
      tls: { fingerprint: agent.fingerprint },
      ...(plan.maxJobs !== undefined && { max_jobs: plan.maxJobs }),
      ...(plan.maxRequests !== undefined && { max_requests: plan.maxRequests }),
      ...(plan.kind !== 'full' && { rate: { limit: 1_200, period_seconds: 60, burst: 100 } }),
      ...(plan.kind === 'bare' && { launcher: false }),
    },
    signal(signal) {
      if (isAlive(agent.pid())) process.kill(agent.pid(), signal);
    },
    async stop() {
      await agent.stop();
      await proxy.stop();
    },
  };
}

type Agent = Pick<RigHost, 'pid' | 'kill' | 'restart' | 'jobsDir' | 'stop'> & KeptBaseAgent;

async function startFull(
  dir: string,
  { name, dataDir }: HostPlan,
  mutation: MutationName | null,
): Promise<Agent> {
  const env = Object.entries(preloaded(dir, name, mutation)).map(([key, value]) => `${key}=${value}`);
  const agent = await startRealAgent({ wrapper: ['env', ...env], ...(dataDir && { dataDir }) });
  return {
    address: agent.address,
    token: agent.token,
    fingerprint: agent.fingerprint,
    jobsDir: agent.jobDir(''),
    pid: () => agent.pid,
    kill: () => agent.kill('SIGKILL'),
    restart: (args = []) => agent.restart(args),
    stop: () => agent.stop(),
  };
}

async function startBase(dir: string, { name, generation = 'A' }: HostPlan): Promise<Agent> {
  const root = join(dir, name);
  await mkdir(root);
  let { child, kept } = await launchBase(root, generation);
  async function end(signal: NodeJS.Signals): Promise<void> {
    if (child.exitCode !== null || child.signalCode !== null) return;
    const ended = once(child, 'exit');
    child.kill(signal);
    await ended;
  }
  return {
    ...kept,
    jobsDir: join(root, '.sluice', 'jobs'),
    pid: () => child.pid ?? 0,
    kill: () => end('SIGKILL'),
    async restart() {
      await end('SIGKILL');
      ({ child, kept } = await launchBase(root, generation));
    },
    async stop() {
      // A signal to all of us has ended it, and its jobs.
      if (!existsSync(root)) return;
      // The life that ends its jobs must be one.
      if (child.exitCode !== null || child.signalCode !== null)
        ({ child } = await launchBase(root, generation));
      await end('SIGTERM');
    },
  };
}

async function launchBase(
  root: string,
  generation: string,
): Promise<{ child: ChildProcess; kept: KeptBaseAgent }> {
  const child = spawn(process.execPath, [BASE_AGENT, root, generation], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  const line = await new Promise<string>((resolve, reject) => {
    createInterface({ input: child.stdout }).once('line', resolve);
    child.once('exit', (code) => reject(new Error(`the Base agent ${generation} ended with ${code}`)));
  });
  return { child, kept: JSON.parse(line) as KeptBaseAgent };
}
