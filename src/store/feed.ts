/**
 * The feed of changes: what long-polls, SSE streams and held requests wake up by.
 *
 * Announcements may be missed (a dropped connection), never invented: whoever waits looks at the record again
 * after `onGap`, and after its own deadline.
 */
import type { State } from '../job/states.ts';

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
