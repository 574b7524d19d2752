/**
 * A job's record: what was asked (`JobRequest`, never changed) and where it stands (`JobProgress`, changed by
 * moves only). Times are milliseconds since 1970 by Redis' clock, unless they are the host's and say so.
 */
import type { Outcome } from './outcome.ts';
import type { OverState, State } from './states.ts';

export const MODES = ['sync', 'async', 'tmux'] as const;
export type Mode = (typeof MODES)[number];

/** How a job was started, and therefore how it is followed to its end, whatever its host has by then. */
export const STARTERS = ['full', 'base', 'base+launcher'] as const;
export type Starter = (typeof STARTERS)[number];

/** What becomes of a job whose unique key is held by another one; see `store/jobs/line.ts`. */
export const ON_DUPLICATE = ['attach', 'reject', 'replace'] as const;
export type OnDuplicate = (typeof ON_DUPLICATE)[number];

/** The ends after which a command can be run again. */
export const RETRY_CAUSES = ['exit', 'signal', 'timeout', 'spawn_error', 'reboot'] as const;
export type RetryCause = (typeof RETRY_CAUSES)[number];

export interface Retry {
  /** How often the command is started at most, the first time included; 2 and more. */
  max_attempts: number;
  /** Before the second attempt, in seconds; it doubles with every further one (`retry.ts`). */
  backoff_seconds: number;
  on: readonly RetryCause[];
}

/** What the caller asked for, as accepted: defaults filled in, never changed afterwards. */
export interface JobRequest {
  /** `job_` and a ULID: sorts by the time of its acceptance. */
  id: string;
  /** As the caller wrote it. */
  target_server: string;
  /** The registered host's name, or the `host:port` of an address pattern. */
  host: string;
  command: string;
  mode: Mode;
  /** The unix user; null is the agent's own. */
  job_user: string | null;
  /** `{"env"?, "secret_env"?}` as JSON, sealed (AES-256-GCM, the job's id as associated data). */
  sealed_env: string | null;
  shell: string | null;
  workdir: string | null;
  timeout_seconds: number | null;
  start_deadline_seconds: number;
  lost_after_seconds: number;
  poll_interval: number;
  not_before: number | null;
  /** 0 to 9: higher first, among the jobs of its host. */
  priority: number;
  labels: Record<string, string>;
  on_ambiguous_start: 'lose' | 'retry';
  leftovers: 'keep' | 'kill';
  /** Null: its command is run once. */
  retry: Retry | null;
  /** At most one job of its key (`created_by`) with this one may be at work. */
  unique_key: string | null;
  callback_url: string | null;
  /** The name of the API key that made it. */
  created_by: string;
  created_at: number;
  traceparent: string | null;
  /** The batch that it belongs to; null: none. */
  batch_id: string | null;
  /** Which of its batch's targets it is for, counted from 0; null without a batch. */
  batch_index: number | null;
  /** The digest of its idempotency key, which lives as long as the record; absent without one. */
  idempotency?: string;
}

/** What a cancel asked for; kept until it is delivered. */
export interface CancelOrder {
  signal: string;
  grace_seconds: number;
  reason: string | null;
}

/** Where the job stands. */
export interface JobProgress {
  state: State;
  version: number;
  /** Counts from 1 with the first start; 0 before. */
  attempt: number;
  /** Those before the present one, oldest first. */
  attempts: readonly EndedAttempt[];
  started_by: Starter | null;
  /** The agent's own id of the job: the launch token, but on agents that choose ids themselves. */
  agent_job_id: string | null;
  /** The launcher's proven directory, fixed before the first start. */
  launcher_dir: string | null;
  /** The agent's spool at the start; another one means forgotten. */
  store_id: string | null;
  dispatched_at: number | null;
  /** When its batch let it go that had held it back: the time by which it must start counts from then. */
  let_go_at: number | null;
  /** Host time, corrected by the skew seen at `/ping`. */
  started_at: number | null;
  ended_at: number | null;
  unreachable_since: number | null;
  /** Failed questions about this job in a row, while its host answered others. */
  unanswered_asks: number;
  /** When it was given up as lost. */
  lost_at: number | null;
  sighted_at: number | null;
  recovered_at: number | null;
  cancel_requested_at: number | null;
  canceled_by: string | null;
  cancel: CancelOrder | null;
  /** Whether the cancel has reached the host. */
  cancel_delivered_at: number | null;
  /** When the host is asked next; kept in the host's followed set, not in the record. */
  next_poll_at: number | null;
  stdout_bytes: number | null;
  stderr_bytes: number | null;
  attach_command: string | null;
  /** Of a job of a batch, once over: the same for two jobs with the same output; null where that is not known. */
  output_print: string | null;
  outcome: Outcome | null;
}

export interface Job extends JobRequest, JobProgress {}

/** What is known of an attempt by itself. */
type OfAttempt = 'attempt' | 'started_by' | 'agent_job_id' | 'launcher_dir' | OfItsRun;
type OfItsRun = 'dispatched_at' | 'started_at' | 'ended_at' | 'stdout_bytes' | 'stderr_bytes';

/** An attempt that was followed by another one: how it ended, and how its output is asked for. */
export interface EndedAttempt extends Pick<JobProgress, OfAttempt> {
  /** What the job would have become if it had been the last one. */
  state: OverState;
  outcome: Outcome;
  /** From when the one after it may start; records of earlier versions do not say. */
  next_from?: number;
}

/** A record before its acceptance. */
export const NOT_STARTED: Omit<JobProgress, 'state' | 'version'> = {
  attempt: 0,
  attempts: [],
  started_by: null,
  agent_job_id: null,
  launcher_dir: null,
  store_id: null,
  dispatched_at: null,
  let_go_at: null,
  started_at: null,
  ended_at: null,
  unreachable_since: null,
  unanswered_asks: 0,
  lost_at: null,
  sighted_at: null,
  recovered_at: null,
  cancel_requested_at: null,
  canceled_by: null,
  cancel: null,
  cancel_delivered_at: null,
  next_poll_at: null,
  stdout_bytes: null,
  stderr_bytes: null,
  attach_command: null,
  output_print: null,
  outcome: null,
};

/** The launch token of the job's present attempt: what makes a repeated start harmless. */
export function launchToken(job: { id: string; attempt: number }): string {
  return `${job.id}-${job.attempt}`;
}

/** One change of a job, as `GET /v1/jobs/{id}/events` shows it. */
export interface JobEvent {
  version: number;
  state: State;
  at: number;
  /** Why, in a few words; `sighted` and `recovered` for the corrections of a lost job. */
  why: string;
}

/** The ends of both streams, kept with a job that is over (bytes, base64 in Redis). */
export interface Tails {
  stdout: Buffer;
  stderr: Buffer;
}

/** The name of a change on the wire: the state after it, or how a lost job was corrected. */
export type JobEventType = `job.${State}` | 'job.sighted' | 'job.recovered';
