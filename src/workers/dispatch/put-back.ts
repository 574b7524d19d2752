/**
 * Putting back a job of whose start nothing was sent, or nothing came: it waits again under the same token. Where a
 * cancel came in between, the job is canceled by that.
 */
import { outcome } from '../../job/outcome.ts';
import type { Job } from '../../job/record.ts';
import type { JobStore } from '../../store/jobs.ts';

/** @returns false if somebody else has moved it */
export type PutBack = (job: Job, inMs: number, why: string) => Promise<boolean>;

export function createPutBack({ jobs }: { jobs: Pick<JobStore, 'transition' | 'now'> }): PutBack {
  return async (job, inMs, why) => {
    const now = await jobs.now();
    const waits = { eligible_at: now + inMs, dispatched_at: null, why };
    if (await jobs.transition(job, 'dispatching', 'queued', waits)) return true;
    // What agents of other kinds are asked about it, a plain Base agent cannot tell.
    if (job.started_by !== 'base') return false;
    const message = 'canceled before it was started';
    const change = { outcome: outcome('canceled', { message }), ended_at: now, why: message };
    return (await jobs.transition(job, 'canceling', 'canceled', change)) !== false;
  };
}
