/**
 * The store in a few lines: what its records, places and slots must come to. `store-model.commands.ts` does the same
 * things to it and to a real one.
 *
 * A job's state is one thing, its places another: it waits, or is held by claims, or neither. What the store keeps apart
 * for speed (mailbox and ready set; the order in them) is one here.
 */
import type { State } from '../../src/job/states.ts';
import type { Claim } from '../../src/store/mailbox.ts';

export interface ModelJob {
  id: string;
  host: Host;
  key: number | null;
  callback: boolean;
  state: State;
  version: number;
  attempt: number;
  cancelOwed: boolean;
}

/** A slot that a worker thinks it holds. */
export interface Held {
  host: Host;
  claim: Claim;
  /** Its lease ran out; the next take of its host gives its job back. */
  isExpired: boolean;
}

export interface Model {
  jobs: Map<string, ModelJob>;
  /** What is claimed under idempotency keys. */
  keys: Map<number, { id: string; body: number }>;
  /** Who waits at a host, and whether it may start by now. */
  waiting: Record<Host, Map<string, { isDue: boolean }>>;
  held: Held[];
  /** Slots that were given back or taken back, and whose worker does not know yet. */
  gone: Held[];
  /** Moved to `dispatching` by workers whose slots had been taken back: until the sweep finds them, they may be nobody's. */
  adrift: Set<string>;
  /** Changes in the outbox, as `<id> <version>`. */
  outbox: string[];
}

export const HOSTS = ['wide', 'narrow'] as const;
export type Host = (typeof HOSTS)[number];
/** `max_requests` leaves one slot for questions. */
export const LIMITS = {
  wide: { max_requests: 4, max_jobs: null, rate: null },
  narrow: { max_requests: 3, max_jobs: 2, rate: null },
} as const;

export const ACTIVE: readonly State[] = ['dispatching', 'running', 'unreachable', 'canceling'];
export const PLACED: readonly State[] = ['queued', 'dispatching'];
export const OVER: readonly State[] = ['succeeded', 'failed', 'timed_out', 'canceled', 'expired', 'lost'];

export function emptyModel(): Model {
  const waiting = { wide: new Map(), narrow: new Map() };
  return { jobs: new Map(), keys: new Map(), waiting, held: [], gone: [], adrift: new Set(), outbox: [] };
}

export const heldAt = ({ held }: Model, host: Host) => held.filter((one) => one.host === host);

export function isActive({ jobs }: Model, id: string): boolean {
  return ACTIVE.includes(jobs.get(id)?.state ?? 'queued');
}

/** What a take does before it claims anything: expired slots give their jobs back. @returns how many */
export function reclaim(model: Model, host: Host): number {
  const expired = heldAt(model, host).filter(({ isExpired }) => isExpired);
  for (const one of expired) {
    model.held.splice(model.held.indexOf(one), 1);
    model.gone.push(one);
    if (!model.waiting[host].has(one.claim.id)) model.waiting[host].set(one.claim.id, { isDue: true });
  }
  return expired.length;
}

/** How many jobs a take claims: first those whose start is unsettled, which have their place under `max_jobs` already. */
export function claimable(model: Model, host: Host, most: number): { unsettled: number; fresh: number } {
  const { max_requests, max_jobs } = LIMITS[host];
  const held = heldAt(model, host);
  const due = [...model.waiting[host]].filter(([, { isDue }]) => isDue).map(([id]) => id);
  const unsettled = due.filter((id) => isActive(model, id)).length;
  const active = [...model.jobs.values()].filter((job) => job.host === host && ACTIVE.includes(job.state));
  const underWay = held.filter(({ claim }) => !isActive(model, claim.id)).length;
  const room = max_jobs === null ? Number.POSITIVE_INFINITY : max_jobs - active.length - underWay;
  const free = Math.max(0, Math.min(max_requests - 1 - held.length, most));
  const first = Math.min(free, unsettled);
  return { unsettled: first, fresh: Math.max(0, Math.min(free - first, due.length - unsettled, room)) };
}

export function isPlaced({ waiting, held }: Model, { id, host }: { id: string; host: string }): boolean {
  return waiting[host as Host].has(id) || held.some(({ claim }) => claim.id === id);
}

/** Those whom nobody would start again, were it not for the sweep. */
export function nobodys(model: Model): ModelJob[] {
  return [...model.adrift]
    .flatMap((id) => model.jobs.get(id) ?? [])
    .filter((job) => PLACED.includes(job.state) && !isPlaced(model, job));
}

/** A move that won. */
export function moved(
  model: Model,
  job: ModelJob,
  move: { from: readonly State[]; to: State; attempt: number; isDue: boolean; untold?: boolean },
): void {
  job.state = move.to;
  job.attempt = move.attempt;
  job.version++;
  if (move.to === 'queued') model.waiting[job.host].set(job.id, { isDue: move.isDue });
  else if (move.from.some((state) => PLACED.includes(state))) model.waiting[job.host].delete(job.id);
  if (OVER.includes(move.to) && job.callback && !move.untold) model.outbox.push(`${job.id} ${job.version}`);
}
