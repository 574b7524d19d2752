/**
 * The mailboxes: for each host the jobs that wait to be started there, by the time from which they may.
 *
 * `take` moves ids from the mailbox into slots; whoever took one either moves its job on and releases the slot,
 * or gives it back. A slot that expires (its worker died) gives its job back by itself, inside the next `take`,
 * so an id is always in a mailbox, in a slot, or its job has been started.
 */
import { randomUUID } from 'node:crypto';
import type { Keys } from './keys.ts';
import type { Redis } from './redis.ts';
import { clock } from './replies.ts';
import { defineScript } from './script.ts';
import { renewSlot } from './slots.ts';

export interface Taken {
  ids: string[];
  /** Names the slots of this take, so that nobody frees a slot that the same job holds by a later one. */
  token: string;
  /** How many more wait, whether or not they may start yet. */
  waiting: number;
  /** When to look again, in ms from now; null when nothing waits and nothing is under way. */
  lookInMs: number | null;
}

export interface Mailbox {
  /** Takes what may be started now, within the host's `max_requests`. */
  take(host: string, options: { maxRequests: number; leaseMs: number; most: number }): Promise<Taken>;
  /** Keeps the slot of a start that is still under way. */
  renew(host: string, id: string, token: string, leaseMs: number): Promise<void>;
  /** Frees the slot of a start that is settled. */
  release(host: string, id: string, token: string): Promise<void>;
  /** Puts a taken job back, to be taken again after `delayMs`. */
  giveBack(host: string, id: string, token: string, delayMs: number): Promise<void>;
  /** Has a mailbox looked at after `delayMs` only. */
  putOff(host: string, delayMs: number): Promise<void>;
  /** Puts a job back that is in nobody's hands; what is in a mailbox or in a slot is left alone. */
  rescue(host: string, id: string): Promise<boolean>;
  /** Hosts whose mailbox should have been looked at `lateMs` ago. */
  overdue(lateMs: number, limit: number): Promise<string[]>;
}

/** The slot that a start holds; see `slots.ts` for the others. */
const holderOf = (id: string, token: string) => `start:${id}:${token}`;

/**
 * KEYS 1 mailbox 2 slots 3 the host's health 4 armed
 * ARGV 1 host 2 max_requests 3 lease in ms 4 the most to take 5 token of the new slots
 * Returns {ids, waiting, in how many ms to look again or -1}.
 */
const takeScript = defineScript(`
local now = clock()
for _, holder in ipairs(redis.call('ZRANGEBYSCORE', KEYS[2], '-inf', now)) do
  redis.call('ZREM', KEYS[2], holder)
  local id = holder:match('^start:([^:]+):')
  if id then redis.call('ZADD', KEYS[1], now, id) end
end

local starts = 0
local holders = redis.call('ZRANGE', KEYS[2], 0, -1)
for _, holder in ipairs(holders) do
  if holder:sub(1, 6) == 'start:' then starts = starts + 1 end
end

local health = redis.call('HMGET', KEYS[3], 'retry_at', 'draining')
local paused = tonumber(health[1] or 0)
local ids = {}
if health[2] ~= '1' and paused <= now then
  -- One slot is left for questions, so that a queue of starts cannot keep running jobs from being asked about.
  local max = tonumber(ARGV[2])
  local free = math.min(math.max(1, max - 1) - starts, max - #holders, tonumber(ARGV[4]))
  if free > 0 then ids = redis.call('ZRANGEBYSCORE', KEYS[1], '-inf', now, 'LIMIT', 0, free) end
  for _, id in ipairs(ids) do
    redis.call('ZREM', KEYS[1], id)
    redis.call('ZADD', KEYS[2], now + ARGV[3], 'start:' .. id .. ':' .. ARGV[5])
  end
end

local head = redis.call('ZRANGE', KEYS[1], 0, 0, 'WITHSCORES')
local look = -1
if head[2] and health[2] == '1' then
  -- Whoever resumes the host has it looked at.
  look = now + 3600000
elseif head[2] then
  look = math.max(tonumber(head[2]), paused)
  if look <= now then look = now + 500 end
elseif starts + #ids > 0 then
  look = now + ARGV[3]
end
if look == -1 then redis.call('ZREM', KEYS[4], ARGV[1]) else redis.call('ZADD', KEYS[4], look, ARGV[1]) end
return {ids, redis.call('ZCARD', KEYS[1]), look == -1 and -1 or look - now}
`);

/**
 * KEYS 1 slots 2 mailbox 3 armed
 * ARGV 1 the slot's holder 2 id 3 delay in ms 4 host
 * Only who holds the slot may give the job back: a slot that expired has done so already.
 */
const giveBackScript = defineScript(`
if redis.call('ZREM', KEYS[1], ARGV[1]) == 0 then return 0 end
local due = clock() + ARGV[3]
redis.call('ZADD', KEYS[2], due, ARGV[2])
redis.call('ZADD', KEYS[3], 'LT', due, ARGV[4])
return 1
`);

/**
 * KEYS 1 mailbox 2 slots 3 armed
 * ARGV 1 id 2 host
 * Returns 1 if the job was in nobody's hands.
 */
const rescueScript = defineScript(`
if redis.call('ZSCORE', KEYS[1], ARGV[1]) then return 0 end
for _, holder in ipairs(redis.call('ZRANGE', KEYS[2], 0, -1)) do
  if holder:match('^start:([^:]+):') == ARGV[1] then return 0 end
end
local now = clock()
redis.call('ZADD', KEYS[1], now, ARGV[1])
redis.call('ZADD', KEYS[3], 'LT', now, ARGV[2])
return 1
`);

/** KEYS 1 armed ARGV 1 host 2 delay in ms */
const putOffScript = defineScript(`
redis.call('ZADD', KEYS[1], 'XX', clock() + ARGV[2], ARGV[1])
`);

export function createMailbox({ redis, keys }: { redis: Redis; keys: Keys }): Mailbox {
  return {
    async take(host, { maxRequests, leaseMs, most }) {
      const token = randomUUID().slice(0, 8);
      const [ids, waiting, lookInMs] = (await takeScript(
        redis,
        [keys.mailbox(host), keys.slots(host), keys.hostHealth(host), keys.armed],
        [host, maxRequests, leaseMs, most, token],
      )) as [string[], number, number];
      return { ids, token, waiting, lookInMs: lookInMs === -1 ? null : lookInMs };
    },
    async renew(host, id, token, leaseMs) {
      await renewSlot(redis, keys, host, holderOf(id, token), leaseMs);
    },
    async release(host, id, token) {
      await redis.zrem(keys.slots(host), holderOf(id, token));
    },
    async giveBack(host, id, token, delayMs) {
      await giveBackScript(
        redis,
        [keys.slots(host), keys.mailbox(host), keys.armed],
        [holderOf(id, token), id, Math.round(delayMs), host],
      );
    },
    async putOff(host, delayMs) {
      await putOffScript(redis, [keys.armed], [host, delayMs]);
    },
    async rescue(host, id) {
      const held = [keys.mailbox(host), keys.slots(host), keys.armed];
      return (await rescueScript(redis, held, [id, host])) === 1;
    },
    async overdue(lateMs, limit) {
      const late = (await clock(redis)) - lateMs;
      return redis.zrangebyscore(keys.armed, '-inf', late, 'LIMIT', 0, limit);
    },
  };
}
