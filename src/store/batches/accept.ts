/**
 * Accepting a batch: record, targets, idempotency key and unique key in one script. After it the batch cannot be
 * forgotten: it is due, and a missing wake-up only makes it late.
 */
import type { Batch, BatchTarget } from '../../job/batch.ts';
import {
  CLAIMED_LUA,
  claimOf,
  digestOf,
  type Idempotency,
  type Taken,
  takenBy,
} from '../jobs/idempotency.ts';
import type { Keys } from '../keys.ts';
import { defineScript } from '../redis/script.ts';
import type { Redis } from '../redis.ts';
import { encodeBatchRequest, encodeCourse, encodeTarget } from './codec.ts';
import { COURSE_LUA, courseKeys } from './course.ts';

/**
 * KEYS 1 request 2 targets 3 idempotency key 4 unique key 5 all 6 those of the owner 7.. the batch's (`course.ts`)
 * ARGV 1 id 2 request 3 what claims the idempotency key or "" 4 "" without a unique key
 *      5 who came last under the unique key as the caller saw it, or "" 6 how many texts of its hash 7.. those, then the targets
 * Returns {1} when accepted, {0, its text} when the idempotency key is taken, {2} where another one came
 * under the unique key meanwhile.
 */
const acceptScript = defineScript(`${CLAIMED_LUA}${COURSE_LUA}
-- Its own first run, whose reply was lost with the connection.
if redis.call('EXISTS', KEYS[7]) == 1 then return {1} end
local taken = ARGV[3] ~= '' and claimed(KEYS[3])
if taken then return {0, taken} end
if ARGV[4] ~= '' then
  if (redis.call('GET', KEYS[4]) or '') ~= ARGV[5] then return {2} end
  redis.call('SET', KEYS[4], ARGV[1])
end
if ARGV[3] ~= '' then redis.call('SET', KEYS[3], ARGV[3]) end
local now, first = clock(), 7 + ARGV[6]
redis.call('SET', KEYS[1], ARGV[2])
redis.call('HSET', KEYS[7], unpack(ARGV, 7, first - 1))
for from = first, #ARGV, 5000 do
  redis.call('RPUSH', KEYS[2], unpack(ARGV, from, math.min(from + 4999, #ARGV)))
end
redis.call('ZADD', KEYS[5], 0, ARGV[1])
redis.call('ZADD', KEYS[6], 0, ARGV[1])
local b = batch_at(7, ARGV[1])
redis.call('ZADD', b.open, now, ARGV[1])
batch_announce(b, now, 'batch.running', 'running', 1)
batch_settle(b, now, false)
return {1}
`);

export type BatchAcceptance = { batch: Batch } | { taken: Taken } | 'holder_changed';

export interface BatchOptions {
  /** Who came last under the unique key as the caller saw it. */
  seen: string | null;
  /** The batch that must be over before this one begins. */
  replaces: string | null;
}

export async function accept(
  redis: Redis,
  keys: Keys,
  batch: Batch,
  targets: readonly BatchTarget[],
  idempotency: Idempotency | undefined,
  { seen, replaces }: BatchOptions,
): Promise<BatchAcceptance> {
  const { id, created_by: owner } = batch;
  const digest = idempotency ? digestOf(idempotency.key) : '';
  const print = idempotency?.fingerprint ?? '';
  const kept: Batch = { ...batch, replaces, ...(idempotency && { idempotency: digest }) };
  const course = encodeCourse(kept);
  const reply = (await acceptScript(
    redis,
    [
      keys.batchRequest(id),
      keys.batchTargets(id),
      idempotency ? keys.idempotency(owner, digest) : keys.batchRequest(id),
      uniqueKeyOf(keys, batch) ?? keys.batchRequest(id),
      keys.batchesAll,
      keys.batchesByOwner(owner),
      ...courseKeys(keys, id),
    ],
    [
      id,
      encodeBatchRequest(kept),
      idempotency ? claimOf(id, print) : '',
      batch.unique_key === null ? '' : '1',
      seen ?? '',
      course.length,
      ...course,
      ...targets.map(encodeTarget),
    ],
  )) as [1] | [0, string] | [2];
  if (reply[0] === 0) return { taken: takenBy(reply[1], print) };
  return reply[0] === 1 ? { batch: kept } : 'holder_changed';
}

/** Null for a batch without one. */
export function uniqueKeyOf(
  keys: Keys,
  { created_by, unique_key }: Pick<Batch, 'created_by' | 'unique_key'>,
): string | null {
  if (unique_key === null) return null;
  return keys.batchUnique(created_by, digestOf(unique_key));
}
