/**
 * All jobs that this agent knows, in memory, and who waits for them to change.
 *
 * Every change gets the next number. A cursor is `<epoch>:<number>`; the epoch is new with every start of the agent,
 * so a cursor of an earlier one never hides a change: it is answered at once.
 */
import { randomBytes } from 'node:crypto';
import { EventEmitter } from 'node:events';
import type { JobRecord } from './job-files.ts';
import type { Outcome } from './outcome.ts';

export interface Job {
  readonly record: JobRecord;
  state: 'accepted' | 'running' | 'ended' | 'lost';
  startedAt: string | null;
  /** Set once the job is over. */
  outcome: Outcome | null;
  /** Not all of its output is there any more. */
  truncated: boolean;
  /** Its directory was cleared away: the record is all there is. */
  cleared: boolean;
  /** The number of its last change. */
  changed: number;
}

export type Registry = ReturnType<typeof createRegistry>;

export function createRegistry() {
  const jobs = new Map<string, Job>();
  const live = new Set<Job>();
  const changes = new EventEmitter().setMaxListeners(0);
  const epoch = randomBytes(6).toString('hex');
  let sequence = 0;

  function touch(job: Job): void {
    job.changed = ++sequence;
    changes.emit(job.record.job_id);
    changes.emit('*');
  }

  return {
    get: (id: string) => jobs.get(id),
    all: () => jobs.values(),
    live: () => [...live],
    cursor: () => `${epoch}:${sequence}`,

    add(job: Omit<Job, 'changed' | 'cleared' | 'truncated'>, cleared = false): Job {
      const added = { ...job, cleared, truncated: job.outcome?.truncated ?? false, changed: 0 };
      jobs.set(job.record.job_id, added);
      if (!isOver(added)) live.add(added);
      touch(added);
      return added;
    },
    forget: (id: string) => jobs.delete(id),

    started(job: Job, at: string): void {
      if (job.state !== 'accepted') return;
      job.state = 'running';
      job.startedAt = at;
      touch(job);
    },
    over(job: Job, outcome: Outcome): void {
      job.state = outcome.state;
      job.startedAt = outcome.startedAt;
      job.outcome = outcome;
      live.delete(job);
      touch(job);
    },

    /** Has one of these jobs changed since? Always true for a cursor of another epoch. */
    changedSince(ids: readonly string[], cursor: string): boolean {
      const [cursorEpoch, number] = cursor.split(':');
      const since = Number(number);
      if (cursorEpoch !== epoch || !Number.isInteger(since)) return true;
      return ids.some((id) => (jobs.get(id)?.changed ?? 0) > since);
    },

    /** Resolves once `condition` holds, at the latest after `ms` or when `signal` aborts. It is asked at every change. */
    waitUntil(condition: () => boolean, ms: number, signal: AbortSignal): Promise<void> {
      return new Promise((resolve) => {
        const check = () => condition() && finish();
        const timer = setTimeout(finish, ms);
        changes.on('*', check);
        signal.addEventListener('abort', finish);
        check();
        if (signal.aborted) finish();
        function finish() {
          clearTimeout(timer);
          changes.off('*', check);
          signal.removeEventListener('abort', finish);
          resolve();
        }
      });
    },
  };
}

export const isOver = (job: Job): boolean => job.outcome !== null;
