/**
 * The pace of questions about a running job: quick at first, then further apart, up to its `poll_interval`.
 *
 * A pause is a quarter of the job's age, so an end is noticed within a quarter of the job's own time: a job of
 * 0.2 s is known to be over after 0.3 s, one of a day after `poll_interval`.
 */

/** The first pause, in ms. */
export const FIRST_PAUSE_MS = 100;
/** Between two tries of a host about a job that is lost, in ms. */
export const LOST_PAUSE_MS = 60_000;
/** Intervals of a host's repeating poll, in ms: few, so that it is seldom changed. */
const INTERVALS_MS = [1_000, 2_000, 5_000, 10_000, 15_000, 30_000, 60_000, 120_000, 300_000] as const;

/** The pause before the next question about a job of this age, in ms. */
export function pauseMs(ageMs: number, pollIntervalSeconds: number): number {
  const quarter = Math.max(FIRST_PAUSE_MS, ageMs / 4);
  return Math.round(Math.min(quarter, pollIntervalSeconds * 1_000));
}

/** How often a host should be asked whose most urgent job is next due after this pause, in ms. */
export function intervalMs(pauseMs: number): number {
  return INTERVALS_MS.findLast((interval) => interval <= pauseMs) ?? INTERVALS_MS[0];
}
