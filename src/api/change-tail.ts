/**
 * The newest changes of jobs, batches and hosts for all streams of this process, with their places: one reader follows the stored stream
 * for everybody, woken by the feed, so that a thousand listeners cost Redis as much as one.
 */
import type { Feed, StreamedChange } from '../store/feed.ts';

export interface ChangeTail {
  /** Every change after the subscription, in order. @returns how to stop */
  subscribe(listener: (change: StreamedChange) => void): Promise<() => void>;
  close(): void;
}

const BATCH = 500;
const TRY_AGAIN_MS = 1_000;

export function createChangeTail(
  feed: Pick<Feed, 'onChange' | 'onBatchChange' | 'onHostChange' | 'onGap' | 'since' | 'latest'>,
): ChangeTail {
  const listeners = new Set<(change: StreamedChange) => void>();
  /** The place of the last change that was read; null while nobody listens. */
  let place: string | null = null;
  let reading = false;
  let again = false;
  const stops = [
    feed.onChange(() => void read()),
    // Those of their counts are in no stream, and come with every change of a job.
    feed.onBatchChange(({ type }) => void (type !== 'batch.changed' && read())),
    feed.onHostChange(() => void read()),
    feed.onGap(() => void read()),
  ];

  /** One at a time; a wake-up while reading means to read once more. */
  async function read(): Promise<void> {
    again = true;
    if (reading || place === null) return;
    reading = true;
    try {
      while (again && place !== null) {
        again = false;
        await readOn();
      }
    } catch {
      setTimeout(() => void read(), TRY_AGAIN_MS).unref();
    } finally {
      reading = false;
    }
  }

  async function readOn(): Promise<void> {
    for (let from: string | null = place; from !== null; ) {
      const changes = await feed.since(from, BATCH);
      // Everybody has left meanwhile: the next who comes begins at the newest change.
      if (place === null) return;
      for (const change of changes) {
        place = change.at;
        for (const listener of listeners) listener(change);
      }
      from = changes.length === BATCH ? place : null;
    }
  }

  return {
    async subscribe(listener) {
      listeners.add(listener);
      if (place === null) {
        const latest = await feed.latest();
        place ??= latest;
      }
      void read();
      return () => {
        listeners.delete(listener);
        if (listeners.size === 0) place = null;
      };
    },
    close() {
      listeners.clear();
      place = null;
      for (const stop of stops) stop();
    },
  };
}
