/**
 * What a job waits for: decided from its record and from where it stands with its host, all seen at one moment.
 *
 * Pure. It names the one thing that holds the job back now: what lifts last comes first, so that nobody raises a
 * limit for a job whose host is down. How the limits are kept is the store's; `waiting-words.ts` tells it to people.
 */
import { waitsForNextAttempt } from './attempts.ts';
import type { Batch } from './batch.ts';
import { type HostConfig, type HostHealth, type HostRate, pauseLeftMs, startsPauseLeftMs } from './host.ts';
import type { Job } from './record.ts';
import { isOver } from './states.ts';

export const WAITING_FOR = [
  'start_time',
  'next_attempt',
  'replaced_job',
  'batch',
  'turn',
  'rate',
  'max_requests',
  'max_jobs',
  'host_paused',
  'host_suspect',
  'host_down',
  'host_misconfigured',
  'host_draining',
  'host_unknown',
  'host_answer',
  'end',
  'worker',
  'nothing',
] as const;
export type WaitingFor = (typeof WAITING_FOR)[number];

/** Where a job stands in its host's queue, and what the host's limits have left. */
export interface HostQueue {
  /** `later` and `ready`: it waits; `taken`: its start is in the hands of a worker; null: it does not wait. */
  place: 'later' | 'ready' | 'taken' | null;
  /** From when it may start, in ms; null where it does not wait, or may by now. */
  eligible_at: number | null;
  /** It may not start before something else than its host lets it: the job that it replaces, or its batch. */
  held: boolean;
  /** Jobs that are to be started before it, as things stand. */
  ahead: number;
  /** Jobs that wait for the host, whether or not they may start yet. */
  waiting: number;
  /** Requests under way to the host, and how many of them are starts. */
  requests: number;
  starts: number;
  /** Jobs that count for `max_jobs`. */
  jobs: number;
  /** Requests that its rate would let through at once now; null where there is no rate. */
  tokens: number | null;
  /** When the next token comes, in ms; null where there is one now. */
  next_token_at: number | null;
  /** When the host's queue is looked at next, in ms; null where nothing waits. */
  look_at: number | null;
}

export interface Standing {
  /** By Redis' clock, in ms. */
  now: number;
  /** The last change of the job. */
  last: { at: number; why: string };
  /** Null: no host has this name any more. */
  host: (Pick<HostConfig, 'name' | 'max_requests' | 'max_jobs'> & { rate: HostRate | null }) | null;
  health: HostHealth;
  queue: HostQueue;
  /** Of a job that waits for its unique key: who holds it, null where there is no record of it; else undefined. */
  replaced?: Job | null | undefined;
  /** Of a job of a batch: that batch, null where there is no record of it. */
  batch?: Pick<Batch, 'id' | 'state' | 'stopped_because' | 'awaits_wave' | 'max_parallel'> | null;
}

/** A queue that nobody has looked at for so long, in ms, waits for a worker. */
const LATE_MS = 30_000;

export function waitingFor(job: Job, standing: Standing): WaitingFor {
  if (job.state === 'queued') return holdsBack(job, standing);
  if (job.state === 'running') return 'end';
  if (!isOver(job.state)) return 'host_answer';
  return owesCancel(job) ? 'host_answer' : 'nothing';
}

/** Since when it waits for that, in ms: no longer than it has been in its state. */
export function waitingSince(what: WaitingFor, { last, health }: Standing): number {
  const silent = what === 'host_down' || what === 'host_suspect' ? (health.silent_since ?? 0) : 0;
  return Math.max(last.at, silent);
}

/** When a job whose host is silent is given up as lost at the earliest, in ms; null while nothing counts. */
export function lostFrom(job: Job, { now, health }: Standing): number | null {
  const canBeLost = ['dispatching', 'unreachable', 'canceling'].includes(job.state);
  if (!canBeLost || health.silent_since === null) return null;
  return Math.max(now, now + job.lost_after_seconds * 1_000 - health.silent_ms);
}

/** How many requests the host gets at once, as things stand: one while it is not known to be up. */
export function requestsAtOnce(host: { max_requests: number }, health: Pick<HostHealth, 'status'>): number {
  return health.status === 'up' ? host.max_requests : 1;
}

/** How many of them may be starts: one is left for questions. */
export function startsAtOnce(host: { max_requests: number }, health: Pick<HostHealth, 'status'>): number {
  return Math.max(1, requestsAtOnce(host, health) - 1);
}

/** A lost job whose cancel has not reached its host is over, but not let go of. */
export function owesCancel({ state, cancel, cancel_delivered_at }: Job): boolean {
  return state === 'lost' && cancel !== null && cancel_delivered_at === null;
}

/** How late the host's queue is looked at, in ms, if that is out of the ordinary; else 0. */
export function lateMs({ now, queue }: Pick<Standing, 'now' | 'queue'>): number {
  const late = now - (queue.look_at ?? now);
  return late > LATE_MS ? late : 0;
}

function holdsBack(job: Job, standing: Standing): WaitingFor {
  const { now, host, queue } = standing;
  if (!host) return 'host_unknown';
  if (standing.replaced !== undefined) return 'replaced_job';
  if (job.batch_id !== null && queue.held) return 'batch';
  if ((job.not_before ?? 0) > now) return 'start_time';
  if (queue.place === 'taken') return 'host_answer';
  return troubleOf(standing) ?? (lateMs(standing) > 0 ? 'worker' : null) ?? limitOf(job, standing, host);
}

/** What keeps the host from being given anything. */
function troubleOf({ health }: Standing): WaitingFor | null {
  if (health.draining) return 'host_draining';
  switch (health.status) {
    case 'misconfigured':
      return 'host_misconfigured';
    case 'down':
      return 'host_down';
    case 'suspect':
      return 'host_suspect';
    default:
      return pauseLeftMs(health) > 0 || startsPauseLeftMs(health) > 0 ? 'host_paused' : null;
  }
}

/** What the limits of a host in order have left; the one that lifts last comes first. */
function limitOf(
  job: Job,
  { now, health, queue }: Standing,
  host: { max_requests: number; max_jobs: number | null },
): WaitingFor {
  if ((queue.eligible_at ?? 0) > now) return waitsForNextAttempt(job) ? 'next_attempt' : 'start_time';
  if (host.max_jobs !== null && queue.jobs >= host.max_jobs) return 'max_jobs';
  if (queue.requests >= requestsAtOnce(host, health)) return 'max_requests';
  if (queue.starts >= startsAtOnce(host, health)) return 'max_requests';
  if (queue.tokens === 0) return 'rate';
  return 'turn';
}
