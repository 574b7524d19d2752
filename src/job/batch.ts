/**
 * A batch: one command for many hosts, each of which gets a job of its own. Its record says what was asked
 * (`BatchRequest`, never changed) and how far it has come (`BatchProgress`, changed by the store's scripts only). Pure.
 *
 * Its jobs are made as it proceeds, in the order of its targets: those before `made` have one, the others have not.
 * Times are milliseconds since 1970 by Redis' clock.
 */
import type { JobRequest } from './record.ts';
import { STATES, type State } from './states.ts';

export const BATCH_STATES = [
  'running',
  'paused',
  'stopping',
  'canceling',
  'succeeded',
  'failed',
  'stopped',
  'canceled',
] as const;
export type BatchState = (typeof BATCH_STATES)[number];

export const BATCH_OVER = ['succeeded', 'failed', 'stopped', 'canceled'] as const;

/** What happens when a limit is crossed; see `BatchRequest`. */
export const ON_LIMIT = ['stop', 'pause', 'cancel'] as const;
export type OnLimit = (typeof ON_LIMIT)[number];

/** What of a job is its own, and not its batch's. */
type OfOneJob =
  | 'id'
  | 'target_server'
  | 'host'
  | 'unique_key'
  | 'callback_url'
  | 'created_at'
  | 'idempotency'
  | 'batch_id'
  | 'batch_index';

/** What each of its jobs is made of. */
export type JobTemplate = Omit<JobRequest, OfOneJob>;

export interface BatchTarget {
  /** The registered host's name, or the `host:port` of an address pattern. */
  host: string;
  /** As the caller wrote it. */
  target_server: string;
}

/** What was asked for, as accepted: shares are counted out, never changed afterwards. */
export interface BatchRequest {
  /** `batch_` and a ULID: sorts by the time of its acceptance. */
  id: string;
  /** Its `sealed_env` is sealed for the batch. */
  job: JobTemplate;
  /** How many targets it has. */
  total: number;
  /** How many of its jobs may be under way at once. */
  max_parallel: number;
  /** The sizes of its waves, of which the last repeats; null: one wave of all. */
  waves: readonly number[] | null;
  /** Between two waves, in seconds; null: until it is resumed. */
  wave_pause_seconds: number | null;
  /** More than so many that ended wrong, and nothing new is started; null: no limit. */
  max_failures: number | null;
  /** More than so many whose host does not answer, and nothing new is started; null: no limit. */
  max_unreachable: number | null;
  on_limit: OnLimit;
  unique_key: string | null;
  callback_url: string | null;
  created_by: string;
  created_at: number;
  /** The batch of which it repeats a part. */
  retry_of: string | null;
  idempotency?: string;
}

/** How many of its targets stand where: they add up to `total`. Jobs on their way to a host count as `queued`. */
export const COUNTED = ['unstarted', ...STATES.filter((state) => state !== 'dispatching')] as const;
export type Counted = (typeof COUNTED)[number];
export type BatchCounts = Record<Counted, number>;

export type BatchLimit = 'max_failures' | 'max_unreachable';

export interface BatchProgress {
  state: BatchState;
  /** Grows by one with every change of a count or of the state. */
  version: number;
  counts: BatchCounts;
  /** How many of the targets have a job, from the first one on. */
  made: number;
  /** Counts from 1. */
  wave: number;
  /** The limit that was crossed. */
  stopped_because: BatchLimit | null;
  /** When the next wave begins, where a pause is under way; null where none is, or where it waits to be resumed. */
  next_wave_at: number | null;
  /** It waits to be resumed because a wave ended, not because somebody paused it. */
  awaits_wave: boolean;
  ended_at: number | null;
  canceled_by: string | null;
  /** What its jobs are canceled with. */
  cancel_reason: string | null;
  /** The batch that must be over before it begins. */
  replaces: string | null;
}

export interface Batch extends BatchRequest, BatchProgress {}

export function isBatchOver(state: BatchState): boolean {
  return (BATCH_OVER as readonly string[]).includes(state);
}

/** As which of the counts a job of a batch counts. */
export function countedAs(state: State): Counted {
  return state === 'dispatching' ? 'queued' : state;
}

/** The types of its events and webhooks. */
export const BATCH_EVENTS = [
  ...BATCH_STATES.map((state) => `batch.${state}` as const),
  'batch.wave_done',
] as const;
export type BatchEventType = (typeof BATCH_EVENTS)[number];
