/**
 * Starts the shell supervisor and its other verbs. They are sessions of their own with an empty environment, and
 * nothing of theirs is a pipe to this process (but the secrets, on stdin): the agent's death does not reach them.
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { closeSync, openSync } from 'node:fs';
import { join } from 'node:path';
import type { Logger } from './log.ts';
import { refusalOfDisk } from './refusal.ts';

export type Supervisor = ReturnType<typeof createSupervisor>;

export function createSupervisor(deps: { scripts: string; jobDir: (id: string) => string; log: Logger }) {
  const starting = new Set<string>();

  /** @returns once the process has ended, however it did, or could not be made: whether it did its work is on the disk */
  async function run(verb: string, id: string, args: string[] = [], stdin?: string): Promise<void> {
    try {
      await spawnAndWait(verb, id, args, stdin);
    } catch (error) {
      deps.log.error({ job_id: id, verb, err: error }, 'job.supervisor.failed');
    }
  }

  async function spawnAndWait(verb: string, id: string, args: string[], stdin?: string): Promise<void> {
    const dir = deps.jobDir(id);
    const log = openLog(join(dir, 'supervisor.log'));
    let child: ChildProcess;
    try {
      child = spawn('/bin/sh', [join(deps.scripts, 'supervisor.sh'), verb, dir, ...args], {
        detached: true,
        cwd: '/',
        env: {},
        stdio: [stdin === undefined ? 'ignore' : 'pipe', log ?? 'ignore', log ?? 'ignore'],
      });
    } finally {
      if (log !== null) closeSync(log);
    }
    // Only a job's own supervisor is left to itself; the other verbs are short, and the agent waits for them.
    if (verb === 'start') child.unref();
    // A supervisor that dies early leaves its end of the pipe closed; its absence is noticed elsewhere.
    child.stdin?.on('error', () => {}).end(stdin);
    await new Promise((resolve, reject) => {
      child.once('error', reject);
      child.once('exit', resolve);
    });
  }

  return {
    start(id: string, secrets?: string): Promise<void> {
      starting.add(id);
      return run('start', id, [], secrets).finally(() => starting.delete(id));
    },
    /** Has a supervisor of this job been made by this agent, that may not have taken the latch yet? */
    isStarting: (id: string) => starting.has(id),
    stop: (id: string, reason: 'canceled' | 'timeout', signal: string, graceSeconds: number) =>
      run('stop', id, [reason, signal, String(Math.ceil(graceSeconds))]),
    /** Publishes the end of a job whose supervisor was killed. */
    finish: (id: string) => run('finish', id, ['lost']),
    /** Ends a job whose supervisor was killed before the command could begin; does nothing if it has begun. */
    abandon: (id: string) => run('abandon', id),
  };
}

/** What it says is of use, its work is needed: a disk that is full or read-only keeps no job from being stopped. */
function openLog(file: string): number | null {
  try {
    return openSync(file, 'a', 0o600);
  } catch (error) {
    if (refusalOfDisk(error) === error) throw error;
    return null;
  }
}
