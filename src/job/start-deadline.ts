/**
 * The time by which a job must have started, and what it comes to where it has not. Pure. Each attempt has
 * `start_deadline_seconds` of its own: the first from the job's acceptance on, a further one from when it may start, both
 * from when its batch let it go, if that held it back; so that a host that is gone keeps no job for ever.
 */
import type { Change } from './move.ts';
import { outcome } from './outcome.ts';
import { LOST_PAUSE_MS } from './pace.ts';
import { isProvenOver } from './proven-over.ts';
import type { Job } from './record.ts';
import type { Next } from './states.ts';

/** In ms since 1970; null: none, as for attempts of earlier versions. */
export function startBy(
  job: Pick<Job, 'attempt' | 'attempts' | 'created_at' | 'let_go_at' | 'start_deadline_seconds'>,
): number | null {
  const from = job.attempt <= 1 ? job.created_at : (job.attempts.at(-1)?.next_from ?? null);
  return from === null ? null : Math.max(from, job.let_go_at ?? 0) + job.start_deadline_seconds * 1_000;
}

/** What a `queued` job comes to that has not started in time: `expired`, or what its last attempt came to. */
export function notStarted(job: Job, now: number): { to: Next<'queued'>; change: Change } {
  const late = `not started within ${job.start_deadline_seconds} s`;
  const last = job.attempts.at(-1);
  if (!last) {
    return { to: 'expired', change: { outcome: outcome('expired', { message: late }), why: late } };
  }
  const { next_from, state, ...seen } = last;
  const attempts = job.attempts.slice(0, -1);
  const isOpen = state === 'lost' && !isProvenOver({ state, outcome: seen.outcome, attempts: [] });
  return {
    to: state as Next<'queued'>,
    change: {
      // The attempt that never began is none: the job stands as it did at the end of the one before.
      ...seen,
      attempts,
      ...(state === 'lost' && { lost_at: now, next_poll_at: isOpen ? now + LOST_PAUSE_MS : null }),
      why: `attempt ${job.attempt} was ${late}: it ends as attempt ${last.attempt} did`,
    },
  };
}
