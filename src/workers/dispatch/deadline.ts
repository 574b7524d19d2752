/**
 * The start deadline. Before anything was sent it is a move; while a start may be on its way to the host, the host
 * must confirm that nothing was started. A job that started in time is never stopped.
 */
import type { Job } from '../../job/record.ts';
import { notStarted, startBy } from '../../job/start-deadline.ts';
import type { JobStore } from '../../store/jobs.ts';
import type { Target } from '../contact.ts';
import type { KeepFromStarting } from './tombstone.ts';

export interface Deadline {
  /** Ends a queued job whose deadline passed; one that was started before as its last attempt ended. */
  passedBeforeStart(job: Job): Promise<boolean>;
  /**
   * @returns true if the job needs no further start
   * @throws SluiceError of an agent: past its deadline, and nothing may be started before the host has answered
   */
  passedWhileDispatching(target: Target, job: Job): Promise<boolean>;
}

export function createDeadline(deps: {
  jobs: Pick<JobStore, 'transition' | 'tails' | 'now'>;
  keepFromStarting: KeepFromStarting;
}): Deadline {
  const { jobs, keepFromStarting } = deps;

  async function isPast(job: Job): Promise<boolean> {
    const by = startBy(job);
    return by !== null && (await jobs.now()) > by;
  }

  return {
    async passedBeforeStart(job) {
      if (!(await isPast(job))) return false;
      const { to, change } = notStarted(job, await jobs.now());
      // What it has written is kept with its end.
      const tails = job.attempts.length > 0 ? await jobs.tails(job.id, job.attempts.at(-1)?.attempt) : null;
      await jobs.transition(job, 'queued', to, { ...change, ...(tails && { tails }) });
      return true;
    },
    async passedWhileDispatching(target, job) {
      if (job.attempt > 1 || job.started_by === 'base' || !(await isPast(job))) return false;
      if (await keepFromStarting(target, job, 'start deadline')) {
        await jobs.transition(job, 'dispatching', 'expired', notStarted(job, await jobs.now()).change);
      }
      return true;
    },
  };
}
