/**
 * What a batch waits for: decided from its record and from where its jobs stand, seen at one moment.
 *
 * Pure. It names the one thing that keeps the batch from going on now; `waiting-words.ts` tells it to people. How its
 * limits are kept is the store's (`store/batches/course.ts`).
 */
import { type Batch, type BatchCounts, type BatchState, isBatchOver } from '../batch.ts';

export const BATCH_WAITING_FOR = [
  'replaced_batch',
  'resume',
  'wave_pause',
  'wave',
  'max_parallel',
  'next_jobs',
  'hosts',
  'end',
  'worker',
  'nothing',
] as const;
export type BatchWaitingFor = (typeof BATCH_WAITING_FOR)[number];

/**
 * Where a host is that the batch waits for. Its job is not started yet: `down`, `misconfigured`, `draining`, `busy` (none
 * of these: the host's own limits, or others' jobs), `held_back` (by the batch itself); or it is: `starting`, `running`,
 * `unreachable`, `canceling`.
 */
export const AWAITED = [
  'down',
  'misconfigured',
  'draining',
  'busy',
  'held_back',
  'starting',
  'running',
  'unreachable',
  'canceling',
] as const;
export type Awaited = (typeof AWAITED)[number];

export interface BatchStanding {
  /** By Redis' clock, in ms. */
  now: number;
  batch: Batch;
  /** Since when it is in its state, in ms. */
  state_since: number;
  /** Who paused it; null: nobody did. */
  paused_by: string | null;
  /** It has not begun: the batch that it replaces is not over, or not proven to be. */
  waits_for: string | null;
  /** The state of that one; null where there is no record of it. */
  waits_for_state: BatchState | null;
  /** How many of its targets belong to its waves so far. */
  wave_end: number;
  /** When somebody should go on with it, in ms; null: when something happens. */
  due_at: number | null;
  /** What the limits count, since the batch was resumed after one of them. */
  failures: number;
  unreachable: number;
  /** How many places of `max_parallel` are taken. */
  in_use: number;
  hosts: Record<Awaited, string[]>;
}

/** A batch that nobody has gone on with for so long, in ms, waits for a worker. */
const LATE_MS = 30_000;

export function batchWaitingFor(standing: BatchStanding): BatchWaitingFor {
  const { batch, now, due_at } = standing;
  if (isBatchOver(batch.state)) return 'nothing';
  if (due_at !== null && now - due_at > LATE_MS) return 'worker';
  if (batch.state === 'paused') return 'resume';
  if (batch.state !== 'running') return 'end';
  if (standing.waits_for !== null) return 'replaced_batch';
  if (batch.made < batch.total) return holdsJobsBack(standing);
  if (standing.hosts.held_back.length > 0) return 'max_parallel';
  return isUnderWay(batch.counts) ? 'end' : 'hosts';
}

/** What keeps it from making its next job. */
function holdsJobsBack({ batch, now, wave_end, in_use }: BatchStanding): BatchWaitingFor {
  if ((batch.next_wave_at ?? 0) > now) return 'wave_pause';
  if (batch.made >= wave_end) return 'wave';
  return in_use >= batch.max_parallel ? 'max_parallel' : 'next_jobs';
}

function isUnderWay({ running, unreachable, canceling }: BatchCounts): boolean {
  return running + unreachable + canceling > 0;
}
