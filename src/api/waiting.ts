/**
 * Waiting for jobs: what is behind `Prefer: wait`, `?wait=` and `:wait`. A wait reads the records once, is then
 * woken by the feed alone, and reads again at its end: waiting costs Redis nothing.
 *
 * A missed announcement costs time, never truth: after a gap the records are read again, and so they are at
 * the end. A wait ends early when its caller goes away or the server closes.
 */
import type { Job } from '../job/record.ts';
import type { State } from '../job/states.ts';
import type { Feed } from '../store/feed.ts';
import type { JobStore } from '../store/jobs.ts';

/** A job, and what about it is waited for. */
export interface Watch {
  id: string;
  ready(seen: { version: number; state: State }): boolean;
}

export interface WaitOptions {
  seconds: number;
  /** `all` waits for every watch, `any` for the first. */
  mode: 'any' | 'all';
  /** Aborted when the caller goes away. */
  signal: AbortSignal;
}

export interface Waits {
  /** Waits for the jobs, at most so long. Jobs that do not exist are not waited for. */
  until(watches: Watch[], options: WaitOptions): Promise<(Job | null)[]>;
  close(): void;
}

const LOOK_AGAIN_MS = 500;

interface Waiter {
  seen(id: string, seen: { version: number; state: State }): void;
  lookAgain(): void;
}

export interface WaitDeps {
  jobs: Pick<JobStore, 'getMany'>;
  feed: Pick<Feed, 'onChange' | 'onGap'>;
  /** Aborted when the server closes: all waits are then answered at once. */
  closing: AbortSignal;
}

export function createWaits(deps: WaitDeps): Waits {
  const { jobs, feed, closing } = deps;
  const byJob = new Map<string, Set<Waiter>>();
  const stops = [
    feed.onChange((change) => {
      for (const waiter of byJob.get(change.id) ?? []) waiter.seen(change.id, change);
    }),
    feed.onGap(() => {
      for (const waiter of new Set([...byJob.values()].flatMap((set) => [...set]))) waiter.lookAgain();
    }),
  ];

  return {
    until: wait,
    close() {
      for (const stop of stops) stop();
    },
  };

  async function wait(watches: Watch[], { seconds, mode, signal }: WaitOptions): Promise<(Job | null)[]> {
    const ids = watches.map(({ id }) => id);
    const pending = new Map(watches.map((watch) => [watch.id, watch]));
    const { promise: enough, resolve: finish } = Promise.withResolvers<void>();
    const over = new AbortController();
    const done = () => pending.size === 0 || (mode === 'any' && pending.size < watches.length);
    const waiter: Waiter = {
      seen(id, seen) {
        if (pending.get(id)?.ready(seen)) pending.delete(id);
        if (done()) finish();
      },
      lookAgain() {
        if (over.signal.aborted) return;
        // The store may not be back yet when the feed is.
        look().catch(() => setTimeout(waiter.lookAgain, LOOK_AGAIN_MS));
      },
    };
    async function look() {
      const found = await jobs.getMany(ids);
      for (const [i, job] of found.entries()) {
        if (job) waiter.seen(job.id, job);
        else pending.delete(ids[i] as string);
      }
      if (pending.size === 0) finish();
      return found;
    }

    // Listening comes before reading: a change between the two would otherwise be missed.
    const stopListening = listen(ids, waiter);
    const timer = setTimeout(finish, seconds * 1_000);
    for (const end of [signal, closing]) end.addEventListener('abort', () => finish(), over);
    try {
      const found = await look();
      if (done() || signal.aborted || closing.aborted) return found;
      await enough;
      return await jobs.getMany(ids);
    } finally {
      over.abort();
      clearTimeout(timer);
      stopListening();
    }
  }

  function listen(ids: string[], waiter: Waiter): () => void {
    for (const id of ids) {
      const waiters = byJob.get(id) ?? new Set();
      byJob.set(id, waiters.add(waiter));
    }
    return () => {
      for (const id of ids) {
        const waiters = byJob.get(id);
        waiters?.delete(waiter);
        if (waiters?.size === 0) byJob.delete(id);
      }
    };
  }
}
