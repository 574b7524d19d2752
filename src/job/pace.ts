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
/** Between two questions at the start of the grid below, in ms. */
const FIRST_STEPS_MS = [100, 200, 500] as const;
/** Intervals of a host's repeating poll, in ms: few, so that it is seldom changed. */
const INTERVALS_MS = [1_000, 2_000, 5_000, 10_000, 15_000, 30_000, 60_000, 120_000, 300_000] as const;

/** The pause before the next question about a job of this age, in ms. */
export function pauseMs(ageMs: number, pollIntervalSeconds: number): number {
  const quarter = Math.max(FIRST_PAUSE_MS, ageMs / 4);
  return Math.round(Math.min(quarter, pollIntervalSeconds * 1_000));
}

/**
 * When to ask next about a job that may wait for `pauseMs`: the last point within the pause of a grid that all jobs
 * of its host share. Jobs of like pauses are so asked about together, and the host's repeating poll comes just then;
 * the grids of different hosts are shifted, so that a fleet's questions are spread over the interval.
 *
 * @param parts how many such points a pause has at least: 1 where one request asks about any number of jobs, more
 *   where each job costs a request of its own, which should not all come at once
 */
export function nextQuestionAt(now: number, pauseMs: number, host: string, parts = 1): number {
  const steps = [...FIRST_STEPS_MS, ...INTERVALS_MS];
  const step = steps.findLast((one) => one <= pauseMs / parts) ?? FIRST_STEPS_MS[0];
  const shift = shiftOf(host) % step;
  return Math.floor((now + pauseMs - shift) / step) * step + shift;
}

/** The same for the same host in every process (FNV-1a). */
function shiftOf(host: string): number {
  let hash = 0x811c9dc5;
  for (let i = 0; i < host.length; i++) hash = Math.imul(hash ^ host.charCodeAt(i), 0x01000193);
  return hash >>> 0;
}

/** How often a host should be asked whose most urgent job is next due after this pause, in ms. */
export function intervalMs(pauseMs: number): number {
  return INTERVALS_MS.findLast((interval) => interval <= pauseMs) ?? INTERVALS_MS[0];
}

/** Of so many questions that not all can be asked, how many go to the youngest jobs before one goes to the oldest wait. */
const YOUNG_PER_OLD = 3;

/**
 * The order of questions where a host's budget is too small for all: three about the jobs that were started last, because
 * the end of a short one is what its caller waits for, then one about the job whose question is due longest, so that
 * nobody starves.
 * @param due soonest due first
 */
export function inTurn<J extends { dispatched_at: number | null }>(due: readonly J[]): J[] {
  const young = due.toSorted((a, b) => (b.dispatched_at ?? 0) - (a.dispatched_at ?? 0));
  const taken = new Set<J>();
  const order: J[] = [];
  let [nextYoung, nextOld] = [0, 0];
  while (order.length < due.length) {
    const isYoungs = order.length % (YOUNG_PER_OLD + 1) < YOUNG_PER_OLD;
    const job = (isYoungs ? young[nextYoung++] : due[nextOld++]) as J;
    if (taken.has(job)) continue;
    taken.add(job);
    order.push(job);
  }
  return order;
}
