/** Starts the plain client of `direct.process.ts`, loads it, and lets it go. */
import { type ChildProcess, fork } from 'node:child_process';
import { once } from 'node:events';
import { fileURLToPath } from 'node:url';
import { cpuMs } from './measure.ts';

export interface DirectPlan {
  /** Makes its tokens its own. */
  name: string;
  hosts: DirectHost[];
  tls: boolean;
  /** The place of the host of each job, in the order of submission. */
  jobs: number[];
  limits: DirectLimits;
}

export interface DirectHost {
  address: string;
  token: string;
}

export interface DirectLimits {
  /** Simultaneous requests to one host. */
  maxRequests: number;
  rate: { limit: number; period_seconds: number; burst: number } | null;
  /** Simultaneous requests to all. */
  concurrency: number;
  timeoutMs: number;
  /** How long the agent may hold its reply for the job's end. */
  waitSeconds: number;
  /** Connections are kept when a host has no more jobs. */
  keep: boolean;
}

const PROCESS = fileURLToPath(new URL('./direct.process.ts', import.meta.url));
let runs = 0;

export async function createDirectClient(hosts: DirectHost[], { tls = true } = {}) {
  const child: ChildProcess = fork(PROCESS, [], { serialization: 'advanced' });
  return {
    /** Loads it with jobs. @returns what lets it go: tells when it began, and resolves once all calls are over */
    async load(jobs: number[], limits: Partial<DirectLimits>) {
      const plan: DirectPlan = {
        name: `direct${++runs}`,
        ...{ hosts, tls, jobs },
        limits: {
          ...{
            maxRequests: 4,
            rate: null,
            concurrency: 1_000,
            timeoutMs: 5_000,
            waitSeconds: 0,
            keep: false,
          },
          ...limits,
        },
      };
      child.send(plan);
      await once(child, 'message');
      return {
        go() {
          const at = performance.timeOrigin + performance.now();
          child.send('go');
          return { at, done: once(child, 'message') };
        },
      };
    },
    cpuMs: () => cpuMs(child.pid as number),
    async stop(): Promise<void> {
      if (child.exitCode !== null || child.signalCode !== null) return;
      const ended = once(child, 'exit');
      child.kill('SIGKILL');
      await ended;
    },
  };
}
