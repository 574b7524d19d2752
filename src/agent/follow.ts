/**
 * Finds out where a job stands from what is on the disk, and takes it a step further: the one place that decides
 * between running, over and lost. It may be asked at any time about any job, by the nudge of a supervisor, by the
 * slow scan, or at the agent's start; asking twice changes nothing.
 *
 * Only a supervisor's record ends a job that has begun; a job that cannot be known is lost, never started again.
 */
import { existsSync, mkdirSync, readFileSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { writeFileDurably } from './durable-file.ts';
import type { Logger } from './log.ts';
import { judge, type Outcome, parseExit, recordedCode, type Verdict } from './outcome.ts';
import { readHostileFile } from './output.ts';
import type { Outputs } from './outputs.ts';
import { ageSeconds, isAlive, type ProcessIdentity, parseIdentity } from './processes.ts';
import { isOver, type Job, type Registry } from './registry.ts';
import type { Supervisor } from './supervisor.ts';
import { createTurns } from './turns.ts';

/** Streams up to this size are hashed before the end is told; larger ones after, as another change. */
const HASH_FIRST_BYTES = 4 * 1024 * 1024;

const TRUNCATED = 'not all of its output was kept: it was more than the agent keeps, or the command cut it';

export interface FollowDeps {
  registry: Pick<Registry, 'started' | 'over'>;
  supervisor: Pick<Supervisor, 'start' | 'isStarting' | 'stop' | 'finish' | 'abandon'>;
  outputs: Pick<Outputs, 'look' | 'size' | 'hash'>;
  jobDir: (id: string) => string;
  bootId: string;
  log: Logger;
}

export type Follow = (job: Job) => Promise<void>;

export function createFollow(deps: FollowDeps): Follow {
  const { registry, supervisor, outputs, bootId } = deps;
  const inTurn = createTurns();
  let hashing: Promise<void> = Promise.resolve();

  /** One look at a time for each job: a nudge during a look makes another look after it. */
  function follow(job: Job): Promise<void> {
    const id = job.record.job_id;
    return inTurn(id, () => examine(job)).catch((error) =>
      deps.log.error({ job_id: id, err: error }, 'job.follow.failed'),
    );
  }

  async function examine(job: Job): Promise<void> {
    if (isOver(job)) return;
    const dir = deps.jobDir(job.record.job_id);
    const exit = parseExit(readHostileFile(join(dir, 'exit'), 4096) ?? '');
    if (exit) return settle(job, judge(exit, dir), statSync(join(dir, 'exit')).mtime);
    if (job.record.boot_id !== bootId) return settle(job, afterReboot(dir), new Date());
    if (!existsSync(join(dir, 'started'))) return startLate(job, dir);
    const begun = existsSync(join(dir, 'go'));
    if (begun) registry.started(job, statSync(join(dir, 'go')).mtime.toISOString());
    const parent = identityIn(dir, 'supervisor');
    if (parent === null ? startedJustNow(dir) : isAlive(parent, bootId)) return stopIfOverdue(job, dir);
    await withoutSupervisor(job, dir, begun);
  }

  /**
   * Accepted by an agent that died before it could start it, or whose supervisor could not be made: tried again at
   * each look. Its secrets, if any, died with that agent; then the latch is taken here, so that a supervisor which is
   * late after all finds it.
   */
  async function startLate(job: Job, dir: string): Promise<void> {
    const id = job.record.job_id;
    if (supervisor.isStarting(id)) return;
    if (!job.record.has_secrets) return void supervisor.start(id);
    mkdirSync(join(dir, 'started'));
    await settle(job, verdict('ended', 'never_ran', 'its secret environment is gone'), new Date());
  }

  async function withoutSupervisor(job: Job, dir: string, begun: boolean): Promise<void> {
    const id = job.record.job_id;
    if (!begun) {
      await supervisor.abandon(id);
    } else {
      const child = identityIn(dir, 'child');
      if (child && isAlive(child, bootId)) return stopIfOverdue(job, dir);
      await supervisor.finish(id);
    }
    const exit = parseExit(readHostileFile(join(dir, 'exit'), 4096) ?? '');
    if (exit) await settle(job, judge(exit, dir), statSync(join(dir, 'exit')).mtime);
  }

  /** The timer is a process of its own, which may have been killed, and so may whoever was stopping the job for it. */
  async function stopIfOverdue(job: Job, dir: string): Promise<void> {
    const { job_id: id, timeout_seconds: timeout } = job.record;
    if (timeout === null || job.startedAt === null) return;
    const sinceStart = (Date.now() - Date.parse(job.startedAt)) / 1000;
    if (sinceStart < timeout + 2) return;
    const child = identityIn(dir, 'child');
    if (!child || !isAlive(child, bootId)) return;
    // The session was opened before the command began, and the clock may have been set since: the lesser of the two.
    if (ageSeconds(child) < timeout + 2) return;
    const stopper = identityIn(dir, 'stopper');
    if (stopper && isAlive(stopper, bootId)) return;
    void supervisor.stop(id, 'timeout', 'TERM', 10).then(() => follow(job));
  }

  async function settle(job: Job, end: Verdict, endedAt: Date): Promise<void> {
    const dir = deps.jobDir(job.record.job_id);
    await outputs.look(job);
    const [stdoutBytes, stderrBytes] = [outputs.size(job, 'stdout'), outputs.size(job, 'stderr')];
    const outcome: Outcome = {
      ...end,
      ...(job.truncated && { truncated: true, message: end.message ?? TRUNCATED }),
      startedAt: startTime(dir),
      endedAt: endedAt.toISOString(),
      stdoutBytes,
      stderrBytes,
      stdoutSha256: null,
      stderrSha256: null,
    };
    const hash = async () => {
      outcome.stdoutSha256 = await outputs.hash(job, 'stdout', stdoutBytes);
      outcome.stderrSha256 = await outputs.hash(job, 'stderr', stderrBytes);
    };
    const large = stdoutBytes + stderrBytes > HASH_FIRST_BYTES;
    if (!large) await hash();
    publish(job, outcome);
    // One after the other: they share a disk, and few threads with everything else.
    if (large) hashing = hashing.then(hash).then(() => publish(job, outcome));
  }

  function publish(job: Job, outcome: Outcome): void {
    const { job_id: id } = job.record;
    try {
      writeFileDurably(join(deps.jobDir(id), 'result.json'), JSON.stringify(outcome));
    } catch (error) {
      // A full disk: the supervisor's record is there, and the result is made from it again at the next start.
      deps.log.error({ job_id: id, err: error }, 'job.result.unwritten');
    }
    registry.over(job, outcome);
    deps.log.info({ job_id: id, reason: outcome.reason, return_code: outcome.returnCode }, 'job.over');
  }

  return follow;
}

/** Nothing of an earlier boot is alive. The child's identity is on disk before a command may begin: without it none has. */
function afterReboot(dir: string): Verdict {
  const child = join(dir, 'child');
  // Torn: the power went before it was on the disk. One that cannot be read now (no descriptor left) is read later.
  if (!existsSync(child) || parseIdentity(readFileSync(child, 'utf8')) === null)
    return verdict('ended', 'never_ran', 'the host was rebooted before it began');
  const code = recordedCode(dir);
  if (code !== null) return judge({ code, reason: 'exit', proof: 'group+marker', left: [], count: 0 }, dir);
  return verdict('lost', 'reboot', 'the host was rebooted while it ran');
}

function verdict(state: 'ended' | 'lost', reason: string, message: string): Verdict {
  return {
    state,
    reason,
    message,
    returnCode: null,
    signal: null,
    proof: 'none',
    remainingPids: [],
    leftoverProcesses: 0,
  };
}

const identityIn = (dir: string, name: 'supervisor' | 'child' | 'stopper'): ProcessIdentity | null =>
  parseIdentity(readHostileFile(join(dir, name), 256) ?? '');

/** Between the latch and its first line a supervisor has no name yet. A latch of the future is one of before the clock was set. */
function startedJustNow(dir: string): boolean {
  const age = Date.now() - statSync(join(dir, 'started')).mtimeMs;
  return age > -1000 && age < 5000;
}

const startTime = (dir: string) => {
  const go = statSync(join(dir, 'go'), { throwIfNoEntry: false });
  return go ? go.mtime.toISOString() : null;
};
