/**
 * The feed of changes, of jobs, batches and hosts: what long-polls, SSE streams and held requests wake up by.
 *
 * Announcements may be missed (a dropped connection), never invented: whoever waits looks at the record again
 * after `onGap`, and after its own deadline. They share one stream, so that one place says how far a reader has come; they
 * have listeners of their own, because whoever waits for a job has no use for a host.
 */
import type { BatchEventType, BatchState } from '../job/batch.ts';
import type { HostStatus } from '../job/host.ts';
import type { State } from '../job/states.ts';
import type { Keys } from './keys.ts';
import { type Hash, pairs } from './redis/replies.ts';
import type { Redis } from './redis.ts';

export interface JobChange {
  id: string;
  version: number;
  state: State;
  host: string;
  owner: string;
  type: string;
}

/** What the scripts of `batches/course.ts` tell. */
export interface BatchChange {
  id: string;
  version: number;
  state: BatchState;
  owner: string;
  type: BatchEventType;
}

/** `batch.changed`: only its counts have; it is announced, and in no stream. */
export type BatchAnnounced = Omit<BatchChange, 'type'> & { type: BatchEventType | 'batch.changed' };

/** A host's circuit, or what an operator said of the host; appended by `hosts/health.ts`. */
export interface HostChange {
  type: `host.${Exclude<HostStatus, 'unknown'> | 'draining' | 'resumed'}`;
  host: string;
  /** What is wrong, where something is. */
  cause: string | null;
}

/** An entry of the bounded stream of all changes; `at` is its place, for `Last-Event-ID`. */
export type StreamedChange = (JobChange | BatchChange | HostChange) & { at: string };

export interface Feed {
  /** Changes of jobs. @returns how to stop listening */
  onChange(listener: (change: JobChange) => void): () => void;
  /** Changes of batches, every one of their counts among them. */
  onBatchChange(listener: (change: BatchAnnounced) => void): () => void;
  /** Something about a host changed; the stream says what. */
  onHostChange(listener: () => void): () => void;
  /** Called when announcements may have been missed. */
  onGap(listener: () => void): () => void;
  /** Changes after a place in the stream (`0` for the oldest kept, `$` for none), oldest first. */
  since(at: string, count: number): Promise<StreamedChange[]>;
  /** The place of the newest change. */
  latest(): Promise<string>;
  close(): Promise<void>;
}

/** What workers wake up by. They hear of nothing else: of a fleet's changes each process would read every one. */
const WORK = new Set<State>(['queued', 'running']);

/** Where a job's change to `state` is announced. */
export function channelOf(keys: Keys, state: State): string {
  return WORK.has(state) ? keys.workChanges : keys.changes;
}

/**
 * Lua: `announce(stream, channel, id, version, state, host, owner, type)` tells a job's change, to the stream and to who
 * listens now.
 */
export const ANNOUNCE_LUA = `
local function announce(stream, channel, id, version, state, host, owner, type)
  redis.call('XADD', stream, 'MAXLEN', '~', 100000, '*', 'id', id, 'version', version, 'state', state, 'host', host,
    'owner', owner, 'type', type)
  redis.call('PUBLISH', channel, cjson.encode({id, version, state, host, owner, type}))
end
`;

/** @param subscriber a connection of its own, for blocking use: a subscribed one takes no other commands */
export async function createFeed(deps: {
  redis: Redis;
  subscriber: Redis;
  keys: Keys;
  /** Which announcements are heard: all, or jobs' that begin to wait or to run. */
  hears: 'everything' | 'work';
}): Promise<Feed> {
  const { redis, subscriber, keys, hears } = deps;
  const changed = new Set<(change: JobChange) => void>();
  const batchesChanged = new Set<(change: BatchAnnounced) => void>();
  const hostsChanged = new Set<() => void>();
  const gaps = new Set<() => void>();

  subscriber.on('message', (_channel, message) => {
    const announced = JSON.parse(message) as [string, number, string, string, string, string];
    const [id, version, state, host, owner, type] = announced;
    if (isOfHost(type)) {
      for (const listener of hostsChanged) listener();
    } else if (isOfBatch(type)) {
      const change = { id, version, state, owner, type } as BatchAnnounced;
      for (const listener of batchesChanged) listener(change);
    } else {
      const change = { id, version, state, host, owner, type } as JobChange;
      for (const listener of changed) listener(change);
    }
  });
  // ioredis subscribes again by itself; what was announced in between is gone.
  subscriber.on('ready', () => {
    for (const listener of gaps) listener();
  });
  await subscriber.subscribe(keys.workChanges, ...(hears === 'everything' ? [keys.changes] : []));

  return {
    onChange: (listener) => listen(changed, listener),
    onBatchChange: (listener) => listen(batchesChanged, listener),
    onHostChange: (listener) => listen(hostsChanged, listener),
    onGap: (listener) => listen(gaps, listener),
    async since(at, count) {
      const entries = await redis.xrange(keys.events, at === '0' ? '-' : `(${at}`, '+', 'COUNT', count);
      return entries.map(([at, fields]) => streamed(at, pairs(fields)));
    },
    async latest() {
      const [entry] = await redis.xrevrange(keys.events, '+', '-', 'COUNT', 1);
      return entry ? entry[0] : '0-0';
    },
    async close() {
      changed.clear();
      batchesChanged.clear();
      hostsChanged.clear();
      gaps.clear();
      // Nothing is under way on it, and a quit would wait for a Redis that is away.
      subscriber.disconnect();
    },
  };
}

function streamed(at: string, fields: Hash): StreamedChange {
  const { id, version, state, host, owner, type = '', cause } = fields;
  if (isOfHost(type)) return { at, type, host, cause: cause ? cause : null } as StreamedChange;
  if (isOfBatch(type)) return { at, id, version: Number(version), state, owner, type } as StreamedChange;
  return { at, id, version: Number(version), state, host, owner, type } as StreamedChange;
}

function isOfHost(type: string): boolean {
  return type.startsWith('host.');
}

function isOfBatch(type: string): boolean {
  return type.startsWith('batch.');
}

function listen<T>(listeners: Set<T>, listener: T): () => void {
  listeners.add(listener);
  return () => listeners.delete(listener);
}
