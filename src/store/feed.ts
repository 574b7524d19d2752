/**
 * The feed of changes: what long-polls, SSE streams and held requests wake up by.
 *
 * Announcements may be missed (a dropped connection), never invented: whoever waits looks at the record again
 * after `onGap`, and after its own deadline.
 */
import type { State } from '../job/states.ts';
import type { Keys } from './keys.ts';
import type { Redis } from './redis.ts';
import { pairs } from './replies.ts';

export interface JobChange {
  id: string;
  version: number;
  state: State;
  host: string;
  owner: string;
  type: string;
}

/** An entry of the bounded stream of all changes; `at` is its place, for `Last-Event-ID`. */
export interface StreamedChange extends JobChange {
  at: string;
}

export interface Feed {
  /** @returns how to stop listening */
  onChange(listener: (change: JobChange) => void): () => void;
  /** Called when announcements may have been missed. */
  onGap(listener: () => void): () => void;
  /** Changes after a place in the stream (`0` for the oldest kept, `$` for none), oldest first. */
  since(at: string, count: number): Promise<StreamedChange[]>;
  /** The place of the newest change. */
  latest(): Promise<string>;
  close(): Promise<void>;
}

/** @param subscriber a connection of its own, for blocking use: a subscribed one takes no other commands */
export async function createFeed(deps: { redis: Redis; subscriber: Redis; keys: Keys }): Promise<Feed> {
  const { redis, subscriber, keys } = deps;
  const changed = new Set<(change: JobChange) => void>();
  const gaps = new Set<() => void>();

  subscriber.on('message', (_channel, message) => {
    const [id, version, state, host, owner, type] = JSON.parse(message) as [
      string,
      number,
      State,
      string,
      string,
      string,
    ];
    for (const listener of changed) listener({ id, version, state, host, owner, type });
  });
  // ioredis subscribes again by itself; what was announced in between is gone.
  subscriber.on('ready', () => {
    for (const listener of gaps) listener();
  });
  await subscriber.subscribe(keys.changes);

  return {
    onChange: (listener) => listen(changed, listener),
    onGap: (listener) => listen(gaps, listener),
    async since(at, count) {
      const entries = await redis.xrange(keys.events, at === '0' ? '-' : `(${at}`, '+', 'COUNT', count);
      return entries.map(([place, fields]) => {
        const { id, version, state, host, owner, type } = pairs(fields) as Record<string, string>;
        return { at: place, id, version: Number(version), state, host, owner, type } as StreamedChange;
      });
    },
    async latest() {
      const [entry] = await redis.xrevrange(keys.events, '+', '-', 'COUNT', 1);
      return entry ? entry[0] : '0-0';
    },
    async close() {
      changed.clear();
      gaps.clear();
      // Nothing is under way on it, and a quit would wait for a Redis that is away.
      subscriber.disconnect();
    },
  };
}

function listen<T>(listeners: Set<T>, listener: T): () => void {
  listeners.add(listener);
  return () => listeners.delete(listener);
}
