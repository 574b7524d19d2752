/**
 * The job records: the single truth about every job. This file says what can be done with them; each way has a
 * file with its script under `jobs/`.
 *
 * Invariants: a record and its places (indexes, mailbox, followed set, outbox) change in one script; a state
 * changes only by a legal move, adds one to `version` and appends one event.
 */
import type { Change, SyncOutput } from '../job/move.ts';
import type { Job, JobEvent, JobProgress, Tails } from '../job/record.ts';
import { type Next, STATES, type State } from '../job/states.ts';
import { type AcceptOptions, accept } from './jobs/accept.ts';
import { type AdoptedJob, adopt, adoptionOf } from './jobs/adopt.ts';
import { events } from './jobs/events.ts';
import { type Glance, glance } from './jobs/glance.ts';
import { findAccepted, type Idempotency, type Taken } from './jobs/idempotency.ts';
import { createLineStore } from './jobs/line.ts';
import { type JobFilter, type JobPage, list } from './jobs/list.ts';
import { type Growth, note, noteGrowth } from './jobs/note.ts';
import { getMany, getOne, output, tails } from './jobs/read.ts';
import { remove } from './jobs/remove.ts';
import { transition } from './jobs/transition.ts';
import type { Keys } from './keys.ts';
import { createClock, results } from './redis/replies.ts';
import type { Redis } from './redis.ts';

export type { Change, SyncOutput } from '../job/move.ts';
export type { JobFilter } from './jobs/list.ts';

export type Accepted =
  | {
      kind: 'accepted';
      job: Job;
      /** Its host's mailbox was empty: wake the dispatcher. */
      wake: boolean;
      /** The job that held its unique key, now to be canceled (`jobs/succession.ts`). */
      replaces: string | null;
    }
  | { kind: 'replayed'; job: Job; attached: boolean }
  /** Its unique key is held by this job, and the request is answered with it. */
  | { kind: 'attached'; job: Job }
  /** Its unique key is held by this job, and the request is refused. */
  | { kind: 'duplicate'; job: Job }
  /** The idempotency key was used with another body. */
  | { kind: 'conflict'; id: string };

export interface JobStore {
  /**
   * Stores a new job durably, with its place in the host's mailbox; or finds what the idempotency key stands for.
   * @param options.hostPrint of its host as the caller saw it (`hosts/recall.ts`): nothing is stored where it has
   *   been changed or removed since; null or missing for any host
   * @param options.onDuplicate what becomes of it if its unique key is held; `attach` where it is missing
   */
  accept(
    job: Job,
    idempotency?: Idempotency,
    options?: AcceptOptions,
  ): Promise<Accepted | { kind: 'host_changed' }>;
  /** What `accept` would find under an idempotency key; null if nothing was accepted under it. */
  findAccepted(
    owner: string,
    idempotency: Idempotency,
  ): Promise<Extract<Accepted, { kind: 'replayed' | 'conflict' }> | null>;
  /**
   * Stores a job that somebody else started, to be followed from now on; or finds the one that stands for it.
   * @param hostPrint as for `accept`
   */
  adopt(job: AdoptedJob, hostPrint: string | null): Promise<Job | 'host_changed'>;
  /** What `adopt` would find. */
  findAdopted(owner: string, host: string, agentJobId: string): Promise<Job | null>;
  get(id: string): Promise<Job | null>;
  getMany(ids: string[]): Promise<(Job | null)[]>;
  /** The same for whoever asks a host about its jobs, at a fraction of the cost. */
  glance(ids: string[]): Promise<Glance>;
  /**
   * Moves a job if it is still in one of `from` and in the attempt that the caller has seen; `false` means that
   * somebody else moved it.
   */
  transition<From extends State>(
    job: Job,
    from: From | readonly From[],
    to: Next<From>,
    change: Change,
  ): Promise<Job | false>;
  /** Writes what is no change of state (byte counts, a new agent id), if the job is still at its version. */
  note(job: Job, progress: Partial<JobProgress>): Promise<boolean>;
  /** Writes how much running jobs have written, of those that are still at their version. */
  noteGrowth(grown: Growth[]): Promise<void>;
  events(id: string): Promise<JobEvent[]>;
  /** The ends of the output of the last attempt, once the job is over, or of an earlier one. */
  tails(id: string, earlier?: number | null): Promise<Tails | null>;
  output(id: string): Promise<SyncOutput | null>;
  /** Newest first; `after` is the id that the page before ended with. */
  list(filter: JobFilter, page: { size: number; after?: string }): Promise<JobPage>;
  /** How many jobs are in each state. */
  counts(): Promise<Record<State, number>>;
  /** Redis' clock, by which all deadlines go; carried on by our own for up to a second. */
  now(): Promise<number>;
  /** Ids whose first attempt should have started by now, whose record may go, or that wait for their unique key. */
  overdue(kind: 'deadlines' | 'expiring' | 'succession', limit: number): Promise<string[]>;
  /** Removes a record; false while deliveries are under way, or if it was moved since the caller read it. */
  remove(job: Job): Promise<boolean>;
}

export function createJobStore(deps: {
  redis: Redis;
  keys: Keys;
  /** Something came into the outbox: wake who delivers. */
  onTold: () => void;
  /** A host has room under its `max_jobs` for a job that waits: wake who starts it. */
  onFreed: (host: string) => void;
  /** A batch is due: wake who goes on with it. */
  onBatchDue: (id: string) => void;
}): JobStore {
  const { redis, keys, onTold, onFreed, onBatchDue } = deps;

  const now = createClock(redis);

  const lines = createLineStore(deps);

  /** Not waited for by whoever moved the job before it: where this is not done, the sweep does it. */
  async function letGo(id: string): Promise<void> {
    const job = await getOne(redis, keys, id);
    if (job && (await lines.letGo(job))) onFreed(job.host);
  }

  async function replayed({ id, sameBody, attached }: Taken) {
    const job = sameBody ? await getOne(redis, keys, id) : null;
    return job ? { kind: 'replayed' as const, job, attached } : { kind: 'conflict' as const, id };
  }

  return {
    async accept(job, idempotency, options) {
      const acceptance = await accept(redis, keys, job, idempotency, options);
      if (acceptance === 'host_changed') return { kind: 'host_changed' };
      if ('wake' in acceptance) return { kind: 'accepted', ...acceptance };
      if ('taken' in acceptance) return replayed(acceptance.taken);
      const holder = await getOne(redis, keys, acceptance.duplicateOf);
      // Removed just now, and its key came free with it: looked at anew.
      if (!holder) return { kind: 'host_changed' };
      return { kind: options?.onDuplicate === 'reject' ? 'duplicate' : 'attached', job: holder };
    },
    async findAccepted(owner, idempotency) {
      const taken = await findAccepted(redis, keys, owner, idempotency);
      return taken && replayed(taken);
    },
    async adopt(job, hostPrint) {
      const adopted = await adopt(redis, keys, job, hostPrint);
      if (adopted === 'host_changed') return adopted;
      if ('job' in adopted) return adopted.job;
      // Where that record has just been removed, what claimed the pair went with it: looked at anew.
      return (await getOne(redis, keys, adopted.taken.id)) ?? 'host_changed';
    },
    async findAdopted(owner, host, agentJobId) {
      const taken = await findAccepted(redis, keys, owner, adoptionOf(host, agentJobId));
      return taken && getOne(redis, keys, taken.id);
    },
    get: (id) => getOne(redis, keys, id),
    getMany: (ids) => getMany(redis, keys, ids),
    glance: (ids) => glance(redis, keys, ids),
    async transition(job, from, to, change) {
      const states = typeof from === 'string' ? [from] : from;
      const moved = await transition(redis, keys, job, states, to, change);
      if (!moved) return false;
      if (moved.told) onTold();
      if (moved.freed) onFreed(job.host);
      if (moved.batchDue !== null) onBatchDue(moved.batchDue);
      if (moved.heir !== null) letGo(moved.heir).catch(() => undefined);
      return moved.job;
    },
    note: (job, progress) => note(redis, keys, job, progress),
    noteGrowth: (grown) => noteGrowth(redis, keys, grown),
    events: (id) => events(redis, keys, id),
    tails: (id, earlier = null) => tails(redis, keys, id, earlier),
    output: (id) => output(redis, keys, id),
    list: (filter, page) => list(redis, keys, filter, page),
    async counts() {
      const pipeline = redis.pipeline();
      for (const state of STATES) pipeline.zcard(keys.jobsByState(state));
      const sizes = await results(pipeline);
      return Object.fromEntries(STATES.map((state, i) => [state, sizes[i]])) as Record<State, number>;
    },
    now,
    async overdue(kind, limit) {
      return redis.zrangebyscore(keys[kind], '-inf', await now(), 'LIMIT', 0, limit);
    },
    remove: (job) => remove(redis, keys, job),
  };
}
