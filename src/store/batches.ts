/**
 * The batches: one command for many hosts. This file says what can be done with them; each way has a file with its
 * script under `batches/`. What its jobs' moves mean for a batch is `batches/course.ts`.
 *
 * A batch proceeds by being due: who has it in hand (`workers/batches.ts`) looks at it, makes what there is room for and
 * looks again. Nothing of that is remembered anywhere else, so whoever comes next goes on where it was.
 */
import type { BatchStanding } from '../job/batch/waiting-for.ts';
import type { Batch, BatchTarget } from '../job/batch.ts';
import type { Job } from '../job/record.ts';
import { accept, type BatchOptions, uniqueKeyOf } from './batches/accept.ts';
import { attach } from './batches/attach.ts';
import { readStanding } from './batches/explain.ts';
import { jobIdsAt, type Look, letGo, look, putOff, targets } from './batches/look.ts';
import { make } from './batches/make.ts';
import type { Standing } from './batches/marks.ts';
import { type Order, type Ordered, order } from './batches/order.ts';
import { type BatchFilter, type BatchPage, getMany, list, standingsOf } from './batches/read.ts';
import { remove } from './batches/remove.ts';
import { findAccepted, type Idempotency, type Taken } from './jobs/idempotency.ts';
import type { Keys } from './keys.ts';
import { createClock } from './redis/replies.ts';
import type { Redis } from './redis.ts';

export type { Look } from './batches/look.ts';
export type { Standing } from './batches/marks.ts';
export type { Order, Ordered } from './batches/order.ts';
export type { BatchFilter } from './batches/read.ts';

export type AcceptedBatch =
  | { kind: 'accepted'; batch: Batch }
  | { kind: 'replayed'; batch: Batch; attached: boolean }
  /** Another one holds its unique key, and the request is answered with it. */
  | { kind: 'attached'; batch: Batch }
  /** The idempotency key was used with another body. */
  | { kind: 'conflict'; id: string };

export interface BatchStore {
  /**
   * Stores a new batch durably; or finds what the idempotency key stands for. `holder_changed`: another one than
   * `options.seen` came under its unique key meanwhile.
   */
  accept(
    batch: Batch,
    targets: readonly BatchTarget[],
    idempotency: Idempotency | undefined,
    options: BatchOptions,
  ): Promise<AcceptedBatch | { kind: 'holder_changed' }>;
  /** Answers a request with the batch that holds its unique key; `over`: it holds it no more. */
  attach(
    holder: Batch,
    idempotency: Idempotency,
  ): Promise<Exclude<AcceptedBatch, { kind: 'accepted' }> | { kind: 'over' }>;
  /** What `accept` would find under an idempotency key; null if nothing was accepted under it. */
  findAccepted(
    owner: string,
    idempotency: Idempotency,
  ): Promise<Extract<AcceptedBatch, { kind: 'replayed' | 'conflict' }> | null>;
  /** The batch that came last under its unique key, over or not; null for none. */
  holder(batch: Pick<Batch, 'created_by' | 'unique_key'>): Promise<Batch | null>;
  get(id: string): Promise<Batch | null>;
  getMany(ids: string[]): Promise<(Batch | null)[]>;
  /** Newest first. */
  list(filter: BatchFilter, page: { size: number; after?: string }): Promise<BatchPage>;
  /** Where each of its targets stands, in their order. */
  standings(batch: Pick<Batch, 'id' | 'total'>): Promise<Standing[]>;
  /** What it waits for; null where there is no record. */
  standing(id: string): Promise<BatchStanding | null>;
  targets(id: string, from: number, count: number): Promise<BatchTarget[]>;
  /** The ids of the jobs for some of its targets, given by their places. */
  jobIdsAt(id: string, indexes: readonly number[]): Promise<string[]>;
  /** How it stands, and what is to be done; null where there is no record. */
  look(id: string): Promise<Look | null>;
  /** Makes the job of its next target. @returns whether the host must be looked at; null if it is not made now */
  make(job: Job): Promise<{ wake: boolean } | null>;
  /** Lets a held job start. @returns whether the host must be looked at */
  letGo(job: Job): Promise<boolean>;
  order(id: string, asked: Order): Promise<Ordered>;
  putOff(id: string, delayMs: number): Promise<void>;
  /** Ids that somebody should have gone on with `lateMs` ago. */
  overdue(lateMs: number, limit: number): Promise<string[]>;
  /** Ids whose record may go. */
  expired(limit: number): Promise<string[]>;
  /** False while deliveries are under way, or if it has changed since the caller read it. */
  remove(batch: Batch): Promise<boolean>;
  now(): Promise<number>;
}

export function createBatchStore({ redis, keys }: { redis: Redis; keys: Keys }): BatchStore {
  const now = createClock(redis);
  const get = async (id: string) => (await getMany(redis, keys, [id]))[0] ?? null;

  async function replayed({ id, sameBody, attached }: Taken) {
    const batch = sameBody ? await get(id) : null;
    return batch ? { kind: 'replayed' as const, batch, attached } : { kind: 'conflict' as const, id };
  }

  return {
    async accept(batch, targets, idempotency, options) {
      const accepted = await accept(redis, keys, batch, targets, idempotency, options);
      if (accepted === 'holder_changed') return { kind: 'holder_changed' };
      if ('taken' in accepted) return replayed(accepted.taken);
      return { kind: 'accepted', batch: accepted.batch };
    },
    async attach(holder, idempotency) {
      const attached = await attach(redis, keys, holder, idempotency);
      if (attached === 'over') return { kind: 'over' };
      return attached === 'attached' ? { kind: 'attached', batch: holder } : replayed(attached.taken);
    },
    async findAccepted(owner, idempotency) {
      const taken = await findAccepted(redis, keys, owner, idempotency);
      return taken && replayed(taken);
    },
    async holder(batch) {
      const key = uniqueKeyOf(keys, batch);
      const id = key && (await redis.get(key));
      return id ? get(id) : null;
    },
    get,
    getMany: (ids) => getMany(redis, keys, ids),
    list: (filter, page) => list(redis, keys, filter, page),
    standings: (batch) => standingsOf(redis, keys, batch),
    standing: (id) => readStanding(redis, keys, id),
    targets: (id, from, count) => targets(redis, keys, id, from, count),
    jobIdsAt: (id, indexes) => jobIdsAt(redis, keys, id, indexes),
    look: (id) => look(redis, keys, id),
    make: (job) => make(redis, keys, job),
    letGo: (job) => letGo(redis, keys, job),
    order: (id, asked) => order(redis, keys, id, asked),
    putOff: (id, delayMs) => putOff(redis, keys, id, delayMs),
    async overdue(lateMs, limit) {
      return redis.zrangebyscore(keys.batchesDue, '-inf', (await now()) - lateMs, 'LIMIT', 0, limit);
    },
    async expired(limit) {
      return redis.zrangebyscore(keys.batchesExpiring, '-inf', await now(), 'LIMIT', 0, limit);
    },
    remove: (batch) => remove(redis, keys, batch),
    now,
  };
}
