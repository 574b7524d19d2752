/**
 * The store's clock without asking it each time: deadlines go by Redis' clock, and a request should not pay a
 * round trip for the time of its acceptance. The difference to the own clock is measured anew now and then.
 */
const MEASURE_EVERY_MS = 30_000;

/** @returns the store's time in ms, about right; the own clock's until it was measured */
export function createStoreClock(jobs: { now(): Promise<number> }): () => number {
  let offset = 0;
  let measuredAt = Number.NEGATIVE_INFINITY;

  async function measure(): Promise<void> {
    const sent = Date.now();
    const theirs = await jobs.now();
    offset = Math.round(theirs - (sent + Date.now()) / 2);
  }

  return () => {
    const now = Date.now();
    if (now - measuredAt > MEASURE_EVERY_MS) {
      measuredAt = now;
      measure().catch(() => {
        measuredAt = Number.NEGATIVE_INFINITY;
      });
    }
    return now + offset;
  };
}
