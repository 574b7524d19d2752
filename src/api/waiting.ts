/**
 * Waiting for jobs and batches: what is behind `Prefer: wait`, `?wait=` and `:wait`. A wait reads the records once, is then
 * woken by the feed alone, and reads again at its end: waiting costs Redis nothing.
 *
 * A missed announcement costs time, never truth: after a gap the records are read again, and so they are at
 * the end. A wait ends early when its caller goes away or the server closes.
 */
import type { Batch } from '../job/batch.ts';
import type { Job } from '../job/record.ts';
import type { Feed } from '../store/feed.ts';

/** What can be waited for: jobs and batches. */
type Waited = Pick<Job, 'id' | 'version' | 'state'> | Pick<Batch, 'id' | 'version' | 'state'>;

/** A record, and what about it is waited for. */
export interface Watch<T extends Waited = Job> {
  id: string;
  ready(seen: Pick<T, 'version' | 'state'>): boolean;
}

export interface WaitOptions {
  seconds: number;
  /** `all` waits for every watch, `any` for the first. */
  mode: 'any' | 'all';
  /** Aborted when the caller goes away. */
  signal: AbortSignal;
}

export interface Waits<T extends Waited = Job> {
  /** Waits for the records, at most so long. Those that do not exist are not waited for. */
  until(watches: Watch<T>[], options: WaitOptions): Promise<(T | null)[]>;
  close(): void;
}
export type BatchWaits = Waits<Batch>;

const LOOK_AGAIN_MS = 500;

interface Waiter<T extends Waited> {
  seen(id: string, seen: Pick<T, 'version' | 'state'>): void;
  lookAgain(): void;
}

export interface WaitDeps<T extends Waited> {
  /** Reads the records, null where there is none. */
  read(ids: string[]): Promise<(T | null)[]>;
  feed: Pick<Feed, 'onGap'> & {
    /** Changes of such records. */
    onChange(listener: (change: Pick<T, 'id' | 'version' | 'state'>) => void): () => void;
  };
  /** Aborted when the server closes: all waits are then answered at once. */
  closing: AbortSignal;
}

export function createWaits<T extends Waited = Job>(deps: WaitDeps<T>): Waits<T> {
  const { read, feed, closing } = deps;
  const byId = new Map<string, Set<Waiter<T>>>();
  const stops = [
    feed.onChange((change) => {
      for (const waiter of byId.get(change.id) ?? []) waiter.seen(change.id, change);
    }),
    feed.onGap(() => {
      for (const waiter of new Set([...byId.values()].flatMap((set) => [...set]))) waiter.lookAgain();
    }),
  ];

  return {
    until: wait,
    close() {
      for (const stop of stops) stop();
    },
  };

  async function wait(watches: Watch<T>[], { seconds, mode, signal }: WaitOptions): Promise<(T | null)[]> {
    const ids = watches.map(({ id }) => id);
    const pending = new Map(watches.map((watch) => [watch.id, watch]));
    const { promise: enough, resolve: finish } = Promise.withResolvers<void>();
    const over = new AbortController();
    const done = () => pending.size === 0 || (mode === 'any' && pending.size < watches.length);
    const waiter: Waiter<T> = {
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
      const found = await read(ids);
      for (const [i, record] of found.entries()) {
        if (record) waiter.seen(record.id, record);
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
      return await read(ids);
    } finally {
      over.abort();
      clearTimeout(timer);
      stopListening();
    }
  }

  function listen(ids: string[], waiter: Waiter<T>): () => void {
    for (const id of ids) {
      const waiters = byId.get(id) ?? new Set();
      byId.set(id, waiters.add(waiter));
    }
    return () => {
      for (const id of ids) {
        const waiters = byId.get(id);
        waiters?.delete(waiter);
        if (waiters?.size === 0) byId.delete(id);
      }
    };
  }
}
