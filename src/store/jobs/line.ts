/**
 * The line of a unique key: which job holds it, and which one comes next. It lasts from a job's acceptance until
 * that job is proven over (`job/proven-over.ts`), and changes only in the scripts that accept, move and remove jobs.
 *
 * Invariants: only who holds the key may move to `dispatching`. Who comes next waits in its host's mailbox at
 * `HELD_AT`, and is in the succession until it holds the key and may go (`succession.ts`), so that a process that
 * dies in between leaves nothing undone.
 */
import type { Job } from '../../job/record.ts';
import type { Keys } from '../keys.ts';
import { HELD_AT, placeOf } from '../mailbox/places.ts';
import { defineScript } from '../redis/script.ts';
import type { Redis } from '../redis.ts';
import { digestOf } from './idempotency.ts';

/** The ids of the job that holds the key and of the one that comes next. */
export interface Line {
  holder: string | null;
  next: string | null;
}

type WithKey = Pick<Job, 'created_by' | 'unique_key'>;

/** Lua: `leave_line(line, succession, id, now)` returns who holds the key from now on in place of `id`, or "". */
export const LEAVE_LUA = `
local function leave_line(line, succession, id, now)
  redis.call('ZREM', succession, id)
  local seen = redis.call('HMGET', line, 'holder', 'next')
  if seen[2] == id then redis.call('HDEL', line, 'next') end
  if seen[1] ~= id then return '' end
  if not seen[2] then
    redis.call('DEL', line)
    return ''
  end
  redis.call('HSET', line, 'holder', seen[2])
  redis.call('HDEL', line, 'next')
  redis.call('ZADD', succession, now, seen[2])
  return seen[2]
end
`;

/** KEYS 1 line 2 succession ARGV 1 id. Returns who holds the key from now on, or "". */
const leaveScript = defineScript(`${LEAVE_LUA}
return leave_line(KEYS[1], KEYS[2], ARGV[1], clock())
`);

/**
 * KEYS 1 line 2 succession 3 mailbox 4 armed
 * ARGV 1 id 2 place 3 host 4 not_before or 0
 * Returns 1 if the job may start from now on and could not before.
 */
const letGoScript = defineScript(`
if redis.call('HGET', KEYS[1], 'holder') ~= ARGV[1] then return 0 end
redis.call('ZREM', KEYS[2], ARGV[1])
local due = tonumber(redis.call('ZSCORE', KEYS[3], ARGV[2]) or 0)
if due < ${HELD_AT} then return 0 end
due = math.max(clock(), tonumber(ARGV[4]))
redis.call('ZADD', KEYS[3], due, ARGV[2])
redis.call('ZADD', KEYS[4], 'LT', due, ARGV[3])
return 1
`);

/** KEYS 1 succession ARGV 1 id 2 delay in ms */
const putOffScript = defineScript(`
redis.call('ZADD', KEYS[1], 'XX', clock() + ARGV[2], ARGV[1])
`);

/** The key of its line; null for a job without a unique key. */
export function lineOf(keys: Keys, { created_by, unique_key }: WithKey): string | null {
  if (unique_key === null) return null;
  return keys.line(created_by, digestOf(unique_key));
}

/** @returns the id of the job that came last into the line; null if nobody holds the key */
export async function lastIn(redis: Redis, line: string): Promise<string | null> {
  const [holder = null, next = null] = await redis.hmget(line, 'holder', 'next');
  return next ?? holder;
}

export async function leaveLine(redis: Redis, keys: Keys, line: string, id: string): Promise<void> {
  await leaveScript(redis, [line, keys.succession], [id]);
}

export interface LineStore {
  /** Both null for a job without a unique key. */
  read(job: WithKey): Promise<Line>;
  /** Lets a job that has come to hold its key start; false where there is nothing to do. */
  letGo(job: Job): Promise<boolean>;
  /** Takes a job out of its line: it is proven over, or there is no record of it. */
  leave(job: WithKey, id: string): Promise<void>;
  /** Who waits, or is to cease waiting, is looked at again after `delayMs`. */
  putOff(id: string, delayMs: number): Promise<void>;
  /** There is nothing more to do about it. */
  forget(id: string): Promise<void>;
}

export function createLineStore({ redis, keys }: { redis: Redis; keys: Keys }): LineStore {
  return {
    async read(job) {
      const line = lineOf(keys, job);
      const [holder = null, next = null] = line === null ? [] : await redis.hmget(line, 'holder', 'next');
      return { holder, next };
    },
    async letGo(job) {
      const line = lineOf(keys, job);
      if (line === null) return false;
      const { id, host, not_before } = job;
      const touched = [line, keys.succession, keys.mailbox(host), keys.armed];
      return (await letGoScript(redis, touched, [id, placeOf(job), host, not_before ?? 0])) === 1;
    },
    async leave(job, id) {
      const line = lineOf(keys, job);
      if (line !== null) await leaveLine(redis, keys, line, id);
    },
    async putOff(id, delayMs) {
      await putOffScript(redis, [keys.succession], [id, delayMs]);
    },
    async forget(id) {
      await redis.zrem(keys.succession, id);
    },
  };
}
