/** What one drain has under way, and what it still has to tell the mailbox of it. */
import type { Claim } from '../../store/mailbox.ts';

export type Starts = ReturnType<typeof createStarts>;

/**
 * The starts of one drain. Slots are freed after the move, with the next take: freed before, two starts could run if
 * this process died between.
 */
export function createStarts(onDone: () => void) {
  const underWay = new Set<Promise<void>>();
  const settled: Claim[] = [];
  let hasEnded = false;
  let lateMs = 0;
  return {
    /** Those of a moment are late for the same reason: what comes after them comes later by as much, and not by the sum. */
    onLate(ms: number): void {
      lateMs = Math.max(lateMs, ms);
    },
    /** How much later than they may be for nothing they were sent, in ms; told once. */
    lateMs(): number {
      const told = Math.round(lateMs);
      lateMs = 0;
      return told;
    },
    add(claim: Claim, start: Promise<boolean>): void {
      const done = start.then((isSettled) => {
        if (isSettled) settled.push(claim);
        underWay.delete(done);
        hasEnded = true;
        onDone();
      });
      underWay.add(done);
    },
    underWay: () => underWay.size,
    /** Whether the host has answered one of them, or failed to. */
    hasEnded: () => hasEnded,
    /** Claims whose slots may be freed, each told once. */
    settled: () => settled.splice(0),
    allDone: () => Promise.all(underWay),
  };
}
