/**
 * Moving a job: the compare-and-set through which every change of state goes. The record, its event, its index
 * entries, its place in mailbox or followed set and its outbox entry change together or not at all.
 */
import { isAscii } from 'node:buffer';
import type { Change } from '../../job/move.ts';
import type { Job } from '../../job/record.ts';
import type { State } from '../../job/states.ts';
import { COURSE_LUA, courseKeys } from '../batches/course.ts';
import { ANNOUNCE_LUA, channelOf } from '../feed.ts';
import type { Keys } from '../keys.ts';
import { HELD_AT, PLACES_LUA } from '../mailbox/places.ts';
import { defineScript } from '../redis/script.ts';
import type { Redis } from '../redis.ts';
import { EVENT_LUA } from './events.ts';
import { inBatch, instructions } from './instructions.ts';
import { KEPT_MS } from './kept.ts';
import { LEAVE_LUA, lineOf } from './line.ts';

/** How long the whole output of a `sync` job is kept, in seconds. */
const OUTPUT_SECONDS = 3_600;

/**
 * KEYS 1 job 2 its further events 3 stream 4 mailbox 5 armed 6 followed 7 hosts with followed jobs 8 deadlines
 *      9 expiring 10 outbox 11 endpoints 12 tails 13 output 14 ready 15 turns 16 active jobs of the host
 *      17 index of the new state 18.. index of each state in `from`, then, of jobs with a unique key only, its line and
 *      the succession, and of jobs of a batch only, the batch's (`batches/course.ts`)
 * ARGV 1 what to do, as JSON 2-3 tails 4-5 output (bytes)
 * Returns false if the job is in none of `from`, in another attempt, or to be started while another one holds its unique
 * key or its batch starts nothing; else {version, 1 if to be told, 1 if another job of its host may start for it, the id
 * of the one that holds its unique key from now on, or "", 1 if somebody must go on with its batch}.
 */
const TRANSITION_LUA = `${EVENT_LUA}${ANNOUNCE_LUA}${PLACES_LUA}${LEAVE_LUA}
local p = cjson.decode(ARGV[1])
local seen = redis.call('HMGET', KEYS[1], 'state', 'attempt', 'move', 'version')
-- This very move, made before: its reply was lost with the connection, and the client sent it again.
if seen[3] == p.move then return {tonumber(seen[4]), 0, 0, '', 0} end
if tonumber(seen[2] or 0) ~= p.attempt then return false end
local old
for i, state in ipairs(p.from) do
  if state == seen[1] then old = KEYS[17 + i] end
end
if not old then return false end
local line, succession
if p.has_line then line, succession = KEYS[18 + #p.from], KEYS[19 + #p.from] end
if line and p.to == 'dispatching' then
  redis.call('HSETNX', line, 'holder', p.id)
  if redis.call('HGET', line, 'holder') ~= p.id then return false end
end

local now = clock()
local b = p.batch and batch_at(p.batch.keys, p.batch.id)
if b and p.batch.starts and seen[1] == 'queued' then
  local state, _, places = batch_settle(b, now, false)
  -- What was started once is under way: where its batch stops, its further attempts go on.
  local goes_on = state == 'stopping' and not p.batch.is_first
  if state and not goes_on and (state ~= 'running' or places <= 0) then
    -- Its batch starts nothing now: it waits until that lets it go, or withdraws it. Meanwhile it cannot miss a deadline.
    redis.call('ZREM', KEYS[8], p.id)
    redis.call('ZADD', KEYS[4], ${HELD_AT}, p.place)
    redis.call('SADD', b.held, p.batch.index)
    return false
  end
end
local version = tonumber(seen[4]) + 1
if p.del then redis.call('HDEL', KEYS[1], unpack(p.del)) end
add_event(p.set, KEYS[2], version, p.to, now, p.why)
redis.call('HSET', KEYS[1], 'state', p.to, 'version', version, 'move', p.move, unpack(p.set))
if old ~= KEYS[17] then
  redis.call('ZREM', old, p.id)
  redis.call('ZADD', KEYS[17], 0, p.id)
end

if p.to == 'queued' then
  local due = math.max(now, p.eligible_at)
  -- Lined up by somebody else as a start that is unsettled, it would wait for no time and pass by the host's limits.
  redis.call('ZREM', KEYS[14], p.place)
  redis.call('ZADD', KEYS[4], due, p.place)
  redis.call('ZADD', KEYS[5], 'LT', due, p.host)
  -- It had its turn before: no flood of its own caller comes between.
  redis.call('HSET', KEYS[15], 'again:' .. p.id, 1)
elseif p.was_placed then
  if redis.call('ZREM', KEYS[4], p.place) == 1 then redis.call('HDEL', KEYS[15], 'again:' .. p.id) end
  local turn = redis.call('ZSCORE', KEYS[14], p.place)
  if turn then
    redis.call('ZREM', KEYS[14], p.place)
    -- Its turn was not had: else what its caller submits next would come after turns that nobody has. An unsettled start
    -- has none.
    if tonumber(turn) >= 0 then
      redis.call('HINCRBY', KEYS[15], 'last:' .. p.place:sub(1, 1) .. caller_at(p.place), -1)
    end
  end
end

local freed = 0
if p.active then
  redis.call('ZADD', KEYS[16], 0, p.id)
elseif p.was_active and redis.call('ZREM', KEYS[16], p.id) == 1 then
  if redis.call('HGET', KEYS[15], 'limit') == 'max_jobs' then
    redis.call('ZADD', KEYS[5], now, p.host)
    freed = 1
  end
end
-- Only what waits for a start can miss its deadline; anything else would crowd out what can.
if p.deadline then
  redis.call('ZADD', KEYS[8], p.deadline, p.id)
elseif seen[1] == 'queued' then
  redis.call('ZREM', KEYS[8], p.id)
end

if p.next_poll_at then
  redis.call('ZADD', KEYS[6], p.next_poll_at, p.id)
  redis.call('ZADD', KEYS[7], 'NX', now, p.host)
elseif p.was_followed and redis.call('ZREM', KEYS[6], p.id) == 1 then
  if redis.call('ZCARD', KEYS[6]) == 0 then redis.call('ZREM', KEYS[7], p.host) end
end

if p.tails then redis.call('HSET', KEYS[12], p.tails .. 'stdout', ARGV[2], p.tails .. 'stderr', ARGV[3]) end
if p.over then
  redis.call('ZADD', KEYS[9], now + ${KEPT_MS}, p.id)
  if p.output then
    redis.call('HSET', KEYS[13], 'stdout', ARGV[4], 'stderr', ARGV[5], 'truncated', p.output.truncated)
    redis.call('EXPIRE', KEYS[13], ${OUTPUT_SECONDS})
  end
end
local batch_wakes = 0
if b and seen[1] ~= p.to then
  batch_count(b, p.batch.index, p.host, seen[1], p.batch.standing)
  local _, _, _, wake = batch_settle(b, now, true)
  batch_wakes = wake or 0
end
local heir = line and p.proven_over and leave_line(line, succession, p.id, now) or ''
local told = not p.untold and ((p.over and p.callback) or redis.call('EXISTS', KEYS[11]) == 1)
if told then
  local hash = redis.call('HGETALL', KEYS[1])
  redis.call('RPUSH', KEYS[10], cjson.encode({id = p.id, version = version, type = p.type, at = now, hash = hash}))
end
announce(KEYS[3], p.channel, p.id, version, p.to, p.host, p.owner, p.type)
return {version, (told or b and b.told) and 1 or 0, freed, heir, batch_wakes}
`;
const transitionScript = defineScript(TRANSITION_LUA);
/** All that a batch needs costs the moves of other jobs nothing. */
const inBatchScript = defineScript(COURSE_LUA + TRANSITION_LUA);

export interface Moved {
  job: Job;
  /** Something came into the outbox. */
  told: boolean;
  /** Another job of its host may start in its place. */
  freed: boolean;
  /** The job that holds its unique key from now on. */
  heir: string | null;
  /** Its batch, where somebody must go on with it. */
  batchDue: string | null;
}

export async function transition(
  redis: Redis,
  keys: Keys,
  job: Job,
  from: readonly State[],
  to: State,
  change: Change,
): Promise<Moved | false> {
  const { id, host } = job;
  const line = lineOf(keys, job);
  const ofKey = line === null ? [] : [line, keys.succession];
  const script = job.batch_id === null ? transitionScript : inBatchScript;
  const reply = (await script(
    redis,
    [
      keys.job(id),
      keys.jobEvents(id),
      keys.events,
      keys.mailbox(host),
      keys.armed,
      keys.followed(host),
      keys.hostsFollowed,
      keys.deadlines,
      keys.expiring,
      keys.outbox,
      keys.endpoints,
      keys.jobTails(id),
      keys.jobOutput(id),
      keys.ready(host),
      keys.turns(host),
      keys.activeJobs(host),
      keys.jobsByState(to),
      ...from.map((state) => keys.jobsByState(state)),
      ...ofKey,
      ...(job.batch_id === null ? [] : courseKeys(keys, job.batch_id)),
    ],
    [
      JSON.stringify({
        ...instructions(job, from, to, change, channelOf(keys, to)),
        has_line: line !== null || undefined,
        ...(job.batch_id !== null && { batch: inBatch(job, to, change, 18 + from.length + ofKey.length) }),
      }),
      bytes(change.tails?.stdout),
      bytes(change.tails?.stderr),
      bytes(change.output?.stdout),
      bytes(change.output?.stderr),
    ],
  )) as [number, number, number, string, number] | null;
  if (!reply) return false;
  const [version, told, freed, heir, batchWakes] = reply;
  return {
    job: moved(job, to, change, version),
    told: told === 1,
    freed: freed === 1,
    heir: heir === '' ? null : heir,
    batchDue: batchWakes === 1 ? job.batch_id : null,
  };
}

/** As text where it is plain: with a Buffer among its arguments the client makes a command of many pieces, without one of a single text. */
function bytes(output: Buffer | undefined): string | Buffer {
  if (output === undefined) return '';
  return isAscii(output) ? output.toString('latin1') : output;
}

/** The job as the caller had it, with the change: what was noted of it meanwhile is in its record only. */
function moved(job: Job, to: State, change: Change, version: number): Job {
  const {
    why,
    eligible_at,
    tails,
    output,
    next_poll_at = null,
    type,
    untold,
    withdrawn,
    ...progress
  } = change;
  return { ...job, ...progress, state: to, version, next_poll_at };
}
