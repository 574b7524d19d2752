/** What people order of a batch: pause, resume, cancel. Each is one compare-and-set with its conclusions. */
import type { Keys } from '../keys.ts';
import { defineScript } from '../redis/script.ts';
import type { Redis } from '../redis.ts';
import { COURSE_LUA, courseKeys } from './course.ts';

export type Order =
  /** @param by for people who ask why nothing goes on */
  | { kind: 'pause'; by?: string }
  | { kind: 'resume' }
  /** It need not wait any longer for the batch that it replaces. */
  | { kind: 'begin' }
  | { kind: 'cancel'; by: string; reason: string | null };

/** What came of it: `done`, `already` (it was so), or `refused` (not in the state it is in); null: there is no record. */
export type Ordered = 'done' | 'already' | 'refused' | null;

/**
 * KEYS 1.. the batch's (`course.ts`) ARGV 1 id 2 the order 3 by whom or "" 4 reason or ""
 * Returns what came of it, nil where there is no record.
 */
const orderScript = defineScript(`${COURSE_LUA}
local b, now = batch_at(1, ARGV[1]), clock()
local seen = redis.call('HMGET', b.hash, 'state', 'awaits_wave', 'stopped_because', 'n:failed', 'n:timed_out', 'n:lost',
  'n:expired', 'expired_away', 'n:unreachable', 'held_for')
local state = seen[1]
if not state then return nil end
local function become(new)
  local version = redis.call('HINCRBY', b.hash, 'version', 1)
  redis.call('HSET', b.hash, 'state', new, 'state_at', now)
  batch_announce(b, now, 'batch.' .. new, new, version)
  batch_settle(b, now, false)
  return 'done'
end
if ARGV[2] == 'begin' then
  if not seen[10] then return 'already' end
  redis.call('HDEL', b.hash, 'held_for')
  batch_settle(b, now, true)
  return 'done'
elseif ARGV[2] == 'pause' then
  if state == 'paused' then
    if not seen[2] then return 'already' end
    -- It waited for its next wave only; from here on it is paused, and is resumed all the same.
    redis.call('HDEL', b.hash, 'awaits_wave')
    redis.call('HSET', b.hash, 'state_at', now, 'paused_by', ARGV[3])
    batch_settle(b, now, true)
    return 'done'
  end
  if state ~= 'running' then return 'refused' end
  redis.call('HSET', b.hash, 'paused_by', ARGV[3])
  return become('paused')
elseif ARGV[2] == 'resume' then
  if state == 'running' then return 'already' end
  if state ~= 'paused' then return 'refused' end
  -- What was counted so far is known to who resumes it; limits count anew from here.
  if seen[3] then
    local function num(i) return tonumber(seen[i] or 0) end
    local away = batch_away(b, b.waiting) + batch_away(b, b.starting)
    redis.call('HSET', b.hash, 'failures_base', num(4) + num(5) + num(6) + num(7) - num(8),
      'unreachable_base', num(9) + away + num(8))
  end
  redis.call('HDEL', b.hash, 'awaits_wave', 'stopped_because', 'paused_by')
  return become('running')
elseif state == 'canceling' then
  return 'already'
elseif state ~= 'running' and state ~= 'paused' and state ~= 'stopping' then
  return 'refused'
end
redis.call('HSET', b.hash, 'canceled_by', ARGV[3], 'cancel_reason', ARGV[4])
redis.call('HDEL', b.hash, 'stopped_because')
return become('canceling')
`);

export async function order(redis: Redis, keys: Keys, id: string, asked: Order): Promise<Ordered> {
  const by = 'by' in asked ? (asked.by ?? '') : '';
  const reason = asked.kind === 'cancel' ? (asked.reason ?? '') : '';
  return (await orderScript(redis, courseKeys(keys, id), [id, asked.kind, by, reason])) as Ordered;
}
