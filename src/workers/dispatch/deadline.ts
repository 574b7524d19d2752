/**
 * The start deadline. Before anything was sent it is a move; while a start may be on its way to the host, a
 * tombstone there comes first, and the host's word decides.
 */
import type { Logger } from 'pino';
import type { AgentPort } from '../../job/agent-port.ts';
import { SluiceError } from '../../job/errors.ts';
import { outcome } from '../../job/outcome.ts';
import type { Job } from '../../job/record.ts';
import type { JobStore } from '../../store/jobs.ts';
import type { Commit } from '../commit.ts';
import type { Contact, Target } from '../contact.ts';

export interface Deadline {
  /** Ends a queued job whose deadline passed. */
  passedBeforeStart(job: Job): Promise<boolean>;
  /** @returns true if the job needs no further start */
  passedWhileDispatching(target: Target, job: Job): Promise<boolean>;
}

export function createDeadline(deps: {
  jobs: Pick<JobStore, 'transition' | 'now'>;
  agents: Pick<AgentPort, 'cancel'>;
  contact: Pick<Contact, 'attempt'>;
  commit: Commit;
  log: Logger;
}): Deadline {
  const { jobs, agents, contact, commit, log } = deps;

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
      const order = { signal: 'TERM', grace_seconds: 0, reason: 'start deadline' };
      try {
        const { report } = await contact.attempt(target, 'cancel', () => agents.cancel(target, job, order));
        const neverRan =
          report.kind === 'unknown' ||
          report.kind === 'never_ran' ||
          (report.kind === 'ended' && report.started_at === null);
        if (neverRan) await jobs.transition(job, 'dispatching', 'expired', expiry(job));
        else await commit(target, job, report);
        return true;
      } catch (error) {
        if (!(error instanceof SluiceError)) throw error;
        log.info({ job: job.id, host: job.host, code: error.code }, 'dispatch.tombstone_owed');
        return false;
      }
    },
  };
}

function expiry(job: Job) {
  const message = `not started within ${job.start_deadline_seconds} s`;
  return { outcome: outcome('expired', { message }), why: message };
}
