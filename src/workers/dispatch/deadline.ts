/**
 * The start deadline. Before anything was sent it is a move; while a start may be on its way to the host, the host
 * must confirm that nothing was started. A job that started in time is never stopped.
 */
import { outcome } from '../../job/outcome.ts';
import type { Job } from '../../job/record.ts';
import type { JobStore } from '../../store/jobs.ts';
import type { Target } from '../contact.ts';
import type { KeepFromStarting } from './tombstone.ts';

export interface Deadline {
  /** Ends a queued job whose deadline passed. */
  passedBeforeStart(job: Job): Promise<boolean>;
  /**
   * @returns true if the job needs no further start
   * @throws SluiceError of an agent: past its deadline, and nothing may be started before the host has answered
   */
  passedWhileDispatching(target: Target, job: Job): Promise<boolean>;
}

export function createDeadline(deps: {
  jobs: Pick<JobStore, 'transition' | 'now'>;
  keepFromStarting: KeepFromStarting;
}): Deadline {
  const { jobs, keepFromStarting } = deps;

  async function isPast(job: Job): Promise<boolean> {
    return (await jobs.now()) > job.created_at + job.start_deadline_seconds * 1_000;
  }

  return {
    async passedBeforeStart(job) {
      // Only a first attempt can be late: one that was dispatched before has met its deadline.
      if (job.attempt > 1 || !(await isPast(job))) return false;
      await jobs.transition(job, 'queued', 'expired', expiry(job));
      return true;
    },
    async passedWhileDispatching(target, job) {
      if (job.attempt > 1 || job.started_by === 'base' || !(await isPast(job))) return false;
      if (await keepFromStarting(target, job, 'start deadline')) {
        await jobs.transition(job, 'dispatching', 'expired', expiry(job));
      }
      return true;
    },
  };
}

function expiry(job: Job) {
  const message = `not started within ${job.start_deadline_seconds} s`;
  return { outcome: outcome('expired', { message }), why: message };
}
