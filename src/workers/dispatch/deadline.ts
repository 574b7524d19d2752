/**
 * The start deadline. Before anything was sent it is a move; while a start may be on its way to the host, the host
 * is asked, then a tombstone is left there, and its word decides. A job that started in time is never stopped.
 */
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
  /**
   * @returns true if the job needs no further start
   * @throws SluiceError of an agent: past its deadline, and nothing may be started before the host has answered
   */
  passedWhileDispatching(target: Target, job: Job): Promise<boolean>;
}

export function createDeadline(deps: {
  jobs: Pick<JobStore, 'transition' | 'now'>;
  agents: Pick<AgentPort, 'ask' | 'cancel'>;
  contact: Pick<Contact, 'attempt'>;
  commit: Commit;
}): Deadline {
  const { jobs, agents, contact, commit } = deps;

  async function isPast(job: Job): Promise<boolean> {
    return (await jobs.now()) > job.created_at + job.start_deadline_seconds * 1_000;
  }

  /** A tombstone stops what it finds, so it is only for a start of which the host knows nothing. */
  async function hasStarted(target: Target, job: Job): Promise<boolean> {
    const { reports, errors } = await contact.attempt(target, 'reconcile', (dial) => agents.ask(dial, [job]));
    const report = reports.get(job.id);
    if (!report) throw errors.get(job.id) ?? new SluiceError('agent_reply_lost');
    if (report.kind === 'unknown' || report.kind === 'never_ran') return false;
    return (await commit(target, job, report)) !== null;
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
      if (await hasStarted(target, job)) return true;
      const order = { signal: 'TERM', grace_seconds: 0, reason: 'start deadline' };
      const { report } = await contact.attempt(target, 'cancel', (dial) => agents.cancel(dial, job, order));
      const neverRan =
        report.kind === 'unknown' ||
        report.kind === 'never_ran' ||
        (report.kind === 'ended' && report.started_at === null);
      if (neverRan) await jobs.transition(job, 'dispatching', 'expired', expiry(job));
      else await commit(target, job, report);
      return true;
    },
  };
}

function expiry(job: Job) {
  const message = `not started within ${job.start_deadline_seconds} s`;
  return { outcome: outcome('expired', { message }), why: message };
}
