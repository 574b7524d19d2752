/**
 * Taking jobs out of a host's mailbox: one script that keeps every limit of the host, whoever asks. What may start by
 * now is lined up in the ready set and taken in its order (`order.ts`).
 */
import { randomUUID } from 'node:crypto';
import type { HostConfig, HostRate } from '../../job/host.ts';
import type { Job } from '../../job/record.ts';
import { bucketOf, OWE_LUA, SPEND_LUA } from '../budget.ts';
import { channelOf } from '../feed.ts';
import { decodeRecord, type RawRecord } from '../jobs/codec.ts';
import type { Keys } from '../keys.ts';
import { defineScript } from '../redis/script.ts';
import type { Redis } from '../redis.ts';
import { BEGIN_LUA, type Beginning, begunHash } from './begin.ts';
import { ORDER_LUA } from './order.ts';
import { HELD_AT, idAt, PLACES_LUA } from './places.ts';

/** The limits under which a host's jobs are started. */
export type StartLimits = Pick<HostConfig, 'max_requests' | 'max_jobs'> & {
  /** The rate in force (`rateOf`); null for none. */
  rate: HostRate | null;
};

/** Why no more was taken though more may start. `probation`: the host is not known to be up, so one at a time. */
export const LIMITS = ['rate', 'max_requests', 'max_jobs', 'paused', 'draining', 'probation'] as const;
export type Limit = (typeof LIMITS)[number];

/** A job in the hands of one start: it holds a slot of its host until it is released or given back. */
export interface Claim {
  id: string;
  place: string;
  /** Names the slots of one take, so that nobody frees a slot that the same job holds by a later one. */
  token: string;
  /** How long what was paid for its first request is good, in ms from the take; see `budget.ts`. */
  paidForMs: number;
  /** The take has moved it to `dispatching`: its start may be sent. */
  begun: boolean;
  /** The job as of the take, without the time of its next question; null if it has no record. @throws Error if that is no job's */
  read(): Job | null;
}

/** The slot that a start holds; see `slots.ts` for the others. */
export function holderOf({ place, token }: Pick<Claim, 'place' | 'token'>): string {
  return `start:${token}:${place}`;
}

export interface TakeOptions {
  /** Of the slots that are taken. */
  leaseMs: number;
  most: number;
  /** The host's, with which its limits were read: where it is another one by now, nothing is taken. */
  revision: number;
  /** Starts that are settled: their slots are freed first. */
  settled?: Claim[];
  /** How much later than their tokens were good starts of this host were sent, in ms. */
  lateMs?: number;
  /** Moves those to `dispatching` of which nothing more is to be decided; see `begin.ts`. */
  begin?: Beginning | null;
}

export interface Taken {
  claims: Claim[];
  /** How many more wait, whether or not they may start yet. */
  waiting: number;
  /** When to look again, in ms from now; null when nothing waits and nothing is under way. */
  lookInMs: number | null;
  /** What keeps the next one from being started; null where none may start yet. */
  limit: Limit | null;
  /** Whether the host is known to answer. */
  isUp: boolean;
  /** The host's, see `HostHealth`: another one than the caller's means that the host was changed since it read it. */
  revision: number;
}

/** Places lined up by one take; what is left comes with the next. */
const LINE_UP = 1_000;
/** How long until a limit that lifts without a wake-up (another process' slot) is looked at again, in ms. */
const LOOK_MS = 500;
/** Until one that lifts with a wake-up is, all the same. */
const WOKEN_MS = 30_000;
const DRAINING_MS = 3_600_000;

/**
 * KEYS 1 mailbox 2 ready 3 turns 4 slots 5 active jobs 6 health 7 budget 8 armed 9-13 see `begin.ts`
 * ARGV 1 host 2 max_requests 3 max_jobs or -1 4 interval and 5 tolerance of the rate in ms (0: none)
 *      6 lease in ms 7 the most to take 8 token of the new slots 9 the host's revision
 *      10-11 what the names of records (job, request) begin and end with, beside the id: they are known here only
 *      12 how much later than paid for starts were sent, in ms 13-15 see `begin.ts` 16.. slots to free
 * Returns {places, how many wait, in how many ms to look again or -1, the limit that binds or "",
 * the host's revision, for how long each place's token is good in ms, of each place's job its request, and its hash
 * and 0, or nothing and when it was begun, 1 if the host is up}.
 */
const takeScript = defineScript(`
${PLACES_LUA}
${ORDER_LUA}
${SPEND_LUA}
${OWE_LUA}
${BEGIN_LUA}
local now = clock()

if ARGV[16] then redis.call('ZREM', KEYS[4], unpack(ARGV, 16)) end
if ARGV[12] ~= '0' then owe(KEYS[7], ARGV[12]) end
local requests, started, lapses = 0, {}, nil
local holders = redis.call('ZRANGE', KEYS[4], 0, -1, 'WITHSCORES')
for i = 1, #holders, 2 do
  local place, till = place_in(holders[i]), tonumber(holders[i + 1])
  if till > now then
    requests = requests + 1
    started[#started + 1] = place
    lapses = lapses or till
  else
    -- What a dead process held may be taken again.
    redis.call('ZREM', KEYS[4], holders[i])
    -- It may be back in the queue already, for a later time.
    if place and not redis.call('ZSCORE', KEYS[2], place) and redis.call('ZADD', KEYS[1], 'NX', now, place) == 1 then
      redis.call('HSET', KEYS[3], 'again:' .. id_at(place), 1)
    end
  end
end

local due = redis.call('ZRANGEBYSCORE', KEYS[1], '-inf', now, 'LIMIT', 0, ${LINE_UP})
if #due > 0 then redis.call('ZREM', KEYS[1], unpack(due)) end
for _, place in ipairs(due) do line_up(place) end

local said = redis.call('HMGET', KEYS[3], 'count', 'limit')
local count = tonumber(said[1] or 0)

local health = redis.call('HMGET', KEYS[6], 'retry_at', 'draining', 'status', 'revision', 'asked_until',
  'no_starts_until')
local paused = math.max(tonumber(health[1] or 0), tonumber(health[5] or 0), tonumber(health[6] or 0))
local revision = tonumber(health[4] or 0)
local max = tonumber(ARGV[2])
local most = tonumber(ARGV[7])
local on_probation = health[3] ~= 'up' and max > 1
if on_probation then max = 1 end

-- One slot is left for questions, so that a queue of starts cannot keep running jobs from being asked about.
local free = math.min(math.max(1, max - 1) - #started, max - requests)
local jobs_left = math.huge
if ARGV[3] ~= '-1' then
  jobs_left = tonumber(ARGV[3]) - redis.call('ZCARD', KEYS[5])
  for _, place in ipairs(started) do
    if not is_active(place) then jobs_left = jobs_left - 1 end
  end
end

local places, paid, records, limit, look = {}, {}, {}, '', -1
while true do
  local head = next_up(count)
  local place, score, good = head[1], tonumber(head[2]), 0
  if not place then break end
  if revision ~= tonumber(ARGV[9]) then
    -- The limits that the caller brought are old.
    look = now
  elseif health[2] == '1' and score >= 0 then
    -- Whoever resumes the host has it looked at.
    limit, look = 'draining', now + ${DRAINING_MS}
  elseif paused > now then
    limit, look = 'paused', paused
  elseif free <= 0 then
    limit, look = on_probation and 'probation' or 'max_requests', now + ${LOOK_MS}
  elseif score >= 0 and jobs_left <= 0 then
    -- The move that ends a job has the host looked at.
    limit, look = 'max_jobs', now + ${WOKEN_MS}
  elseif #places >= most then
    look = now + ${LOOK_MS}
  else
    local granted, wait
    granted, wait, good = spend(KEYS[7], now, tonumber(ARGV[4]), tonumber(ARGV[5]), 'start', 1)
    if granted == 0 then limit, look = 'rate', now + wait end
  end
  if look ~= -1 then break end
  redis.call('ZREM', KEYS[2], place)
  redis.call('ZADD', KEYS[4], now + ARGV[6], 'start:' .. ARGV[8] .. ':' .. place)
  places[#places + 1], paid[#paid + 1] = place, good
  local job = ARGV[10] .. id_at(place)
  local request, hash = redis.call('GET', job .. ARGV[11]), redis.call('HGETALL', job)
  records[#records + 1] = begin(place, job, request, hash, now) and {request, {}, now} or {request, hash, 0}
  count = mark_served(place, score, count)
  free = free - 1
  if score >= 0 then jobs_left = jobs_left - 1 end
end

-- Without those that wait for another job's end: whatever becomes of this host, they may not start.
local ready, later = redis.call('ZCARD', KEYS[2]), redis.call('ZCOUNT', KEYS[1], '-inf', '(${HELD_AT}')
if ready + later == 0 then
  redis.call('DEL', KEYS[3])
elseif limit ~= (said[2] or '') then
  redis.call('HSET', KEYS[3], 'limit', limit)
end
if later > 0 then
  local first = redis.call('ZRANGE', KEYS[1], 0, 0, 'WITHSCORES')
  local at = math.max(tonumber(first[2]), paused, now + 1)
  if look == -1 or at < look then look = at end
end
if look == -1 and #started + #places > 0 then
  -- Where the process that has one in hand dies, its slot gives the job back.
  look = math.min(lapses or math.huge, now + ARGV[6])
end
if look == -1 then redis.call('ZREM', KEYS[8], ARGV[1]) else redis.call('ZADD', KEYS[8], look, ARGV[1]) end
return {places, ready + later, look == -1 and -1 or look - now, limit, revision, paid, records,
  health[3] == 'up' and 1 or 0}
`);

export async function take(
  { redis, keys }: { redis: Redis; keys: Keys },
  host: string,
  limits: StartLimits,
  { leaseMs, most, revision: seen, settled = [], lateMs = 0, begin = null }: TakeOptions,
): Promise<Taken> {
  const token = randomUUID().slice(0, 8);
  const { intervalMs, toleranceMs } = bucketOf(limits.rate);
  const [places, waiting, lookInMs, limit, revision, paid, records, isUp] = (await takeScript(
    redis,
    [
      keys.mailbox(host),
      keys.ready(host),
      keys.turns(host),
      keys.slots(host),
      keys.activeJobs(host),
      keys.hostHealth(host),
      keys.hostBudget(host),
      keys.armed,
      keys.deadlines,
      keys.endpoints,
      keys.events,
      keys.jobsByState('queued'),
      keys.jobsByState('dispatching'),
    ],
    [
      host,
      limits.max_requests,
      limits.max_jobs ?? -1,
      intervalMs,
      toleranceMs,
      leaseMs,
      most,
      token,
      seen,
      ...recordNames(keys),
      lateMs,
      begin?.store_id ?? '',
      begin?.why ?? '',
      channelOf(keys, 'dispatching'),
      ...settled.map(holderOf),
    ],
  )) as [string[], number, number, Limit | '', number, number[], RawClaim[], 0 | 1];
  return {
    claims: places.map((place, i) => {
      const id = idAt(place);
      // Its own only: a claim is kept until its start is over.
      const [request, hash, begunAt] = records[i] as RawClaim;
      const begun = begunAt > 0;
      const record: RawRecord = [request, begin && begun ? begunHash(begin, begunAt) : hash];
      return {
        ...{ id, place, token, paidForMs: paid[i] ?? 0, begun },
        read: () => decodeRecord(id, record),
      };
    }),
    waiting,
    lookInMs: lookInMs === -1 ? null : lookInMs,
    limit: limit === '' ? null : limit,
    isUp: isUp === 1,
    revision,
  };
}

type RawClaim = [...RawRecord, begunAt: number];

/** What the names of a job's hash and its request begin with, and what the request's ends with. */
function recordNames(keys: Keys): [start: string, endOfRequest: string] {
  const start = keys.job('');
  return [start, keys.jobRequest('').slice(start.length)];
}
