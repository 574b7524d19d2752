/**
 * Running a command again: whether an attempt that is over is followed by another one, and when. Pure; `settle.ts`
 * asks it about every end that it decides.
 *
 * Only an end that the host has told is followed by a start, and only where nothing of the attempt can still be at
 * work: a `lost` job is never run again, and neither is one that somebody has asked to cancel.
 */
import { nextAttempt } from './attempts.ts';
import type { Move } from './move.ts';
import type { Job, Retry, RetryCause } from './record.ts';
import type { Report } from './report.ts';
import { isOver, type State } from './states.ts';

/** A command that failed is run again; one that took too long, or was cut off in its midst, only on request. */
export const USUAL_CAUSES: readonly RetryCause[] = ['exit', 'signal', 'spawn_error'];

export const MAX_ATTEMPTS = 20;
export const USUAL_BACKOFF_SECONDS = 10;
/** The longest pause between two attempts, in seconds. */
export const LONGEST_BACKOFF_SECONDS = 3_600;

/** States of an attempt about whose end its host is asked, and which nobody has asked to end. */
const UNDER_WAY = new Set<State>(['dispatching', 'running', 'unreachable']);

/** The pause after the given attempt, in ms: it doubles with every one. */
export function backoffMs({ backoff_seconds }: Pick<Retry, 'backoff_seconds'>, attempt: number): number {
  return Math.min(backoff_seconds * 2 ** (attempt - 1), LONGEST_BACKOFF_SECONDS) * 1_000;
}

/** @returns the move to the next attempt in place of one to an end; the move itself where there is none */
export function retried(job: Job, report: Report, move: Move, now: number): Move {
  const { to, change } = move;
  const { retry, attempt } = job;
  if (!retry || attempt >= retry.max_attempts || !UNDER_WAY.has(job.state)) return move;
  if (job.cancel_requested_at !== null || !isOver(to) || !change.outcome) return move;
  const { outcome } = change;
  const isWanted = to !== 'succeeded' && (retry.on as readonly string[]).includes(outcome.kind);
  if (!isWanted || mayBeAtWork(report)) return move;
  const why = `attempt ${attempt} of ${retry.max_attempts}: ${change.why}`;
  const eligible_at = now + backoffMs(retry, attempt);
  return {
    to: 'queued',
    change: nextAttempt(job, { state: to, change: { ...change, outcome } }, { eligible_at, why }),
  };
}

/** Something of it withstood its end, or whoever stopped it cannot look. */
function mayBeAtWork(report: Report): boolean {
  if (report.kind !== 'ended') return false;
  return report.remaining_pids.length > 0 || (report.reason === 'timeout' && report.proof === 'none');
}
