/**
 * What a job becomes about which its host gave no answer: decided by `job/settle.ts`, committed here. No answer is
 * never an end (rule 1); it makes a job unreachable, and lost once it has lasted.
 */
import type { Logger } from 'pino';
import type { SluiceError } from '../../job/errors.ts';
import type { Job } from '../../job/record.ts';
import { type Silent, settleSilence } from '../../job/settle.ts';
import type { JobStore } from '../../store/jobs.ts';
import type { Contact, Target } from '../contact.ts';

export interface Silence {
  /**
   * A request that failed, recorded as the host's by then.
   * @returns whether the host is silent, and how long it is to be left alone, in ms
   */
  ofHost(target: Target, jobs: Job[]): Promise<{ silent: boolean; pauseMs: number }>;
  /** The host answers, but not about this job: silence of its own, which lasted `pauseMs` more. */
  ofJob(job: Job, error: SluiceError, pauseMs: number): Promise<void>;
}

export function createSilence(deps: {
  jobs: Pick<JobStore, 'transition' | 'note' | 'now'>;
  contact: Pick<Contact, 'target'>;
  log: Logger;
}): Silence {
  const { jobs, contact, log } = deps;

  return {
    async ofHost(target, silentJobs) {
      const after = await contact.target(target.name);
      const now = await jobs.now();
      const { silent_since, silent_ms, silent_asks, retry_at, status, cause } =
        after?.health ?? target.health;
      const pauseMs = Math.max((retry_at ?? 0) - now, 1_000);
      // It asked for a pause, or this one question failed.
      if (status === 'up') return { silent: false, pauseMs };
      const refuses = status === 'misconfigured' && { why: `the host is set up wrongly: ${cause}` };
      const silence = { since: silent_since ?? now, silentMs: silent_ms, asks: silent_asks, ...refuses };
      for (const job of silentJobs) await fallSilent(job, silence, now);
      return { silent: true, pauseMs };
    },
    async ofJob(job, error, pauseMs) {
      const now = await jobs.now();
      const asks = job.unanswered_asks + 1;
      await jobs.note(job, { unanswered_asks: asks });
      const why = `the host does not answer about it: ${error.message}`;
      await fallSilent(job, { since: now, silentMs: asks * pauseMs, asks, why }, now);
    },
  };

  async function fallSilent(job: Job, silence: Silent, now: number): Promise<void> {
    const move = settleSilence(job, silence, { now, skewMs: 0 });
    if (!move || !(await jobs.transition(job, job.state, move.to as never, move.change))) return;
    const { id, host, state } = job;
    log.warn({ job: id, host, from: state, to: move.to, why: move.change.why }, 'job.moved');
  }
}
