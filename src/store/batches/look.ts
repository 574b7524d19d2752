/** Going on with a batch: how it stands now, and letting its held jobs start. */
import type { Batch, BatchTarget } from '../../job/batch.ts';
import type { Job } from '../../job/record.ts';
import type { Keys } from '../keys.ts';
import { HELD_AT, placeOf } from '../mailbox/places.ts';
import { pairs } from '../redis/replies.ts';
import { defineScript } from '../redis/script.ts';
import type { Redis } from '../redis.ts';
import { decodeBatch, decodeTarget } from './codec.ts';
import { COURSE_LUA, courseKeys } from './course.ts';
import { batchJobId } from './job-id.ts';

/** What is to be done for a batch now. */
export interface Look {
  batch: Batch;
  /** How many of its jobs may be made. */
  room: number;
  /** How many of the held ones may be let go. */
  free: number;
  /** Those of its targets whose jobs are held back. */
  held: number[];
  /** The batch that must be over before it begins; null where it has begun. */
  waitsFor: string | null;
  /** When it is to be gone on with, in ms from now; null: when something happens. */
  lookInMs: number | null;
}

/**
 * KEYS 1.. the batch's (`course.ts`), then its request ARGV 1 id
 * Returns the request, the hash, room, for how many of the held ones there is room, these, and in how many ms it is due or -1; nil without a record.
 */
const lookScript = defineScript(`${COURSE_LUA}
local b, now = batch_at(1, ARGV[1]), clock()
-- Whoever changes it from here on wakes somebody again.
redis.call('HDEL', b.hash, 'awake')
redis.call('ZREM', b.due, b.id)
local state, room, _, _, free = batch_settle(b, now, false)
if not state then return nil end
local due = redis.call('ZSCORE', b.due, b.id)
return {redis.call('GET', KEYS[#KEYS]), redis.call('HGETALL', b.hash), room, free, redis.call('SMEMBERS', b.held),
  due and math.max(0, due - now) or -1}
`);

export async function look(redis: Redis, keys: Keys, id: string): Promise<Look | null> {
  const reply = (await lookScript(redis, [...courseKeys(keys, id), keys.batchRequest(id)], [id])) as
    | [string, string[], number, number, string[], number]
    | null;
  if (reply === null) return null;
  const [request, flat, room, free, held, lookInMs] = reply;
  const hash = pairs(flat);
  return {
    batch: decodeBatch(request, hash),
    waitsFor: hash.held_for ?? null,
    room,
    free,
    held: held.map(Number),
    lookInMs: lookInMs === -1 ? null : lookInMs,
  };
}

/** @param count from the target `from` on, at most */
export async function targets(
  redis: Redis,
  keys: Keys,
  id: string,
  from: number,
  count: number,
): Promise<BatchTarget[]> {
  return (await redis.lrange(keys.batchTargets(id), from, from + count - 1)).map(decodeTarget);
}

export async function jobIdsAt(
  redis: Redis,
  keys: Keys,
  id: string,
  indexes: readonly number[],
): Promise<string[]> {
  if (indexes.length === 0) return [];
  const first = Math.min(...indexes);
  const them = await targets(redis, keys, id, first, Math.max(...indexes) - first + 1);
  return indexes.flatMap((index) => {
    const target = them[index - first];
    return target ? [batchJobId(id, target.host)] : [];
  });
}

/**
 * KEYS 1 held 2 mailbox 3 armed 4 job 5 deadlines ARGV 1 which target 2 place 3 host 4 not_before or 0 5 id 6 start deadline in ms
 * Returns 1 if the job may start from now on and could not before.
 */
const letGoScript = defineScript(`
if redis.call('SREM', KEYS[1], ARGV[1]) == 0 then return 0 end
if tonumber(redis.call('ZSCORE', KEYS[2], ARGV[2]) or 0) < ${HELD_AT} then return 0 end
local now = clock()
local due = math.max(now, tonumber(ARGV[4]))
redis.call('HSET', KEYS[4], 'let_go_at', now)
redis.call('ZADD', KEYS[5], now + ARGV[6], ARGV[5])
redis.call('ZADD', KEYS[2], due, ARGV[2])
redis.call('ZADD', KEYS[3], 'LT', due, ARGV[3])
return 1
`);

/** @returns whether its host must be looked at */
export async function letGo(redis: Redis, keys: Keys, job: Job): Promise<boolean> {
  const { id, host, not_before, start_deadline_seconds } = job;
  const touched = [
    keys.batchHeld(job.batch_id as string),
    keys.mailbox(host),
    keys.armed,
    keys.job(id),
    keys.deadlines,
  ];
  const said = [
    job.batch_index as number,
    placeOf(job),
    host,
    not_before ?? 0,
    id,
    start_deadline_seconds * 1_000,
  ];
  return (await letGoScript(redis, touched, said)) === 1;
}

/** KEYS 1 due ARGV 1 id 2 delay in ms */
const putOffScript = defineScript(`
redis.call('ZADD', KEYS[1], 'XX', clock() + ARGV[2], ARGV[1])
`);

export async function putOff(redis: Redis, keys: Keys, id: string, delayMs: number): Promise<void> {
  await putOffScript(redis, [keys.batchesDue], [id, delayMs]);
}
