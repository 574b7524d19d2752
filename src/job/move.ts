/** A move of a job: to which state, what is written with it, and why. Decided here, committed by the store. */
import type { JobProgress, Tails } from './record.ts';
import type { State } from './states.ts';

/** What a move writes besides the state. */
export interface Change extends Partial<Omit<JobProgress, 'state' | 'version' | 'next_poll_at'>> {
  /** For the event, in a few words. */
  why: string;
  /** To `queued`: from when it may start again; now where it is missing. */
  eligible_at?: number;
  /** To an over state: the ends of its output. */
  tails?: Tails;
  /** To an over state, `sync` jobs: the first 64 KiB of each stream. */
  output?: SyncOutput;
  /** To a followed state, or to `lost`: when its host is asked about it next; null for never again. */
  next_poll_at?: number | null;
  /** Webhooks are not told: what they would hear is not new. */
  untold?: true;
  /** To `canceled`, of a job of a batch that was never started: in its batch it counts as `unstarted`. */
  withdrawn?: true;
  /** The event's type, where it is not `job.<state>`. */
  type?: 'job.sighted' | 'job.recovered';
}

/** The output of a finished `sync` job, kept for an hour. */
export interface SyncOutput {
  stdout: Buffer;
  stderr: Buffer;
  truncated: boolean;
}

/** What `settle.ts` decides. */
export interface Move {
  to: State;
  change: Change;
}
