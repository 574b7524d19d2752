/**
 * Sends what is due at one origin. Several runs may drain the same origin: the store hands out at most
 * `perOrigin` leases to all of them together, so a slow receiver holds up nobody but itself.
 */
import { setTimeout as pause } from 'node:timers/promises';
import type { Claim, Claimed, DeliveryStore } from '../../store/deliveries.ts';

export interface DrainDeps {
  deliveries: Pick<DeliveryStore, 'claim'>;
  attempt: (claimed: Claimed) => Promise<void>;
  /** Requests under way to one origin at once. */
  perOrigin: number;
  /** Longer than an attempt can last, with what is written before and after it. */
  leaseMs: number;
  /** Whether other origins wait for the place of this run. */
  isCrowded: () => Promise<boolean>;
  /** Takes over requests under way, of a run that gives up its place before they end. */
  onLeft: (requests: Promise<unknown>) => void;
  /** An attempt could not be recorded: the store failed. It comes again when its lease ends. */
  onError: (error: unknown) => void;
}

/** How long one origin may be served while others wait, in ms: hanging ones would have all places for hours. */
const LONGEST_MS = 2_000;

/** @returns when the origin should be looked at again; null if nothing waits there */
export async function drainOrigin(
  { deliveries, attempt, perOrigin, leaseMs, isCrowded, onLeft, onError }: DrainDeps,
  origin: string,
  signal: AbortSignal,
): Promise<Claim['next']> {
  const underWay = new Set<Promise<void>>();
  const end = performance.now() + LONGEST_MS;
  let isLeft = false;
  const start = (claimed: Claimed) => {
    const done = attempt(claimed)
      .catch(onError)
      .finally(() => underWay.delete(done));
    underWay.add(done);
  };

  try {
    for (;;) {
      const { claimed, next } = await deliveries.claim(origin, { perOrigin, leaseMs });
      claimed.forEach(start);
      if (underWay.size === 0) return next;
      await oneEnds(underWay, Math.min(next?.inMs ?? LONGEST_MS, LONGEST_MS));
      if (signal.aborted) return next;
      if (performance.now() < end || !(await isCrowded())) continue;
      isLeft = true;
      onLeft(Promise.all(underWay));
      return next;
    }
  } finally {
    if (!isLeft) await Promise.all(underWay);
  }
}

/** Also returns when something comes due: a retry must not wait for a slow request to end. */
async function oneEnds(underWay: Set<Promise<void>>, dueInMs: number): Promise<void> {
  const enough = new AbortController();
  const due = pause(dueInMs, undefined, { signal: enough.signal }).catch(() => undefined);
  await Promise.race([...underWay, due]);
  enough.abort();
}
