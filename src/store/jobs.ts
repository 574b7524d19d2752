/**
 * The job records: the single truth about every job. This file says what can be done with them; each way has a
 * file with its script under `jobs/`.
 *
 * Invariants: a record and its places (indexes, mailbox, followed set, outbox) change in one script; a state
 * changes only by a legal move, adds one to `version` and appends one event.
 */
import type { Job, JobEvent, JobProgress, Tails } from '../job/record.ts';
import type { Next, State } from '../job/states.ts';

export type Accepted =
  | { kind: 'accepted'; job: Job /** its host's mailbox was empty: wake the dispatcher */; wake: boolean }
  | { kind: 'replayed'; job: Job }
  /** The idempotency key was used with another body. */
  | { kind: 'conflict'; id: string };

/** What a move writes besides the state. */
export interface Change extends Partial<Omit<JobProgress, 'state' | 'version'>> {
  /** For the event, in a few words. */
  why: string;
  /** To `queued`: from when it may start again; now where it is missing. */
  eligible_at?: number;
  /** To an over state: the ends of its output. */
  tails?: Tails;
  /** To an over state, `sync` jobs: the first 64 KiB of each stream. */
  output?: SyncOutput;
  /** To `lost`: until when it is asked about. */
  ask_until?: number;
  /** The event's type, where it is not `job.<state>`. */
  type?: 'job.sighted' | 'job.recovered';
}

/** The output of a finished `sync` job, kept for an hour. */
export interface SyncOutput {
  stdout: Buffer;
  stderr: Buffer;
  truncated: boolean;
}

export interface JobFilter {
  state?: State[];
  /** A host's name. */
  host?: string;
  label?: Record<string, string>;
  created_after?: number;
  created_before?: number;
  /** Only jobs of this key; missing: of all. */
  owner?: string;
}

export interface JobPage {
  jobs: Job[];
  /** The id to go on after; null at the end. */
  after: string | null;
}

export interface JobStore {
  /** Stores a new job durably, with its place in the host's mailbox; or finds what the idempotency key stands for. */
  accept(job: Job, idempotency?: { key: string; fingerprint: string }): Promise<Accepted>;
  get(id: string): Promise<Job | null>;
  getMany(ids: string[]): Promise<(Job | null)[]>;
  /** Moves a job if it is in one of `from`; `false` means that somebody else moved it. */
  transition<From extends State>(
    id: string,
    from: From | readonly From[],
    to: Next<From>,
    change: Change,
  ): Promise<Job | false>;
  /** Writes what is no change of state (byte counts, the next question), if the job is still at `version`. */
  note(id: string, version: number, progress: Partial<JobProgress>): Promise<boolean>;
  events(id: string): Promise<JobEvent[]>;
  tails(id: string): Promise<Tails | null>;
  output(id: string): Promise<SyncOutput | null>;
  /** Newest first; `after` is the id that the page before ended with. */
  list(filter: JobFilter, page: { size: number; after?: string }): Promise<JobPage>;
  /** How many jobs are in each state. */
  counts(): Promise<Record<State, number>>;
  /** Redis' clock, by which all deadlines go. */
  now(): Promise<number>;
}
