/**
 * Moving a job: the compare-and-set through which every change of state goes. The record, its event, its index
 * entries, its place in mailbox or followed set and its outbox entry change together or not at all.
 */
import { randomUUID } from 'node:crypto';
import type { Change } from '../../job/move.ts';
import { isProvenOver } from '../../job/proven-over.ts';
import { type Job, launchToken } from '../../job/record.ts';
import { startBy } from '../../job/start-deadline.ts';
import { isOver, type State } from '../../job/states.ts';
import { channelOf } from '../feed.ts';
import type { Keys } from '../keys.ts';
import { PLACES_LUA, placeOf } from '../mailbox/places.ts';
import { defineScript } from '../redis/script.ts';
import type { Redis } from '../redis.ts';
import { encodeProgress } from './codec.ts';
import { EVENT_LUA } from './events.ts';
import { glancedAt } from './glance.ts';
import { LEAVE_LUA, lineOf } from './line.ts';
import { tailsPrefix } from './read.ts';

/** How long a record is kept after its end, in ms. */
export const KEPT_MS = 7 * 86_400_000;
/** How long the whole output of a `sync` job is kept, in seconds. */
const OUTPUT_SECONDS = 3_600;

/** States that count against a host's `max_jobs`: a job's place there comes back by its state and nothing else. */
const ACTIVE = new Set<State>(['dispatching', 'running', 'unreachable', 'canceling']);
/** States in which a job may be in its host's mailbox or ready set: a start that is unsettled is put back there. */
const PLACED = new Set<State>(['queued', 'dispatching']);
/** States in which a job may be in its host's followed set. */
const FOLLOWED = new Set<State>(['running', 'unreachable', 'canceling', 'lost']);

/**
 * KEYS 1 job 2 its further events 3 stream 4 mailbox 5 armed 6 followed 7 hosts with followed jobs 8 deadlines
 *      9 expiring 10 outbox 11 endpoints 12 tails 13 output 14 ready 15 turns 16 active jobs of the host
 *      17 index of the new state 18.. index of each state in `from`, then, of jobs with a unique key only, its line and
 *      the succession
 * ARGV 1 what to do, as JSON 2-3 tails 4-5 output (bytes)
 * Returns false if the job is in none of `from`, in another attempt, or to be started while another one holds its unique
 * key; else {version, 1 if to be told, 1 if another job of its host may start for it, the id of the one that holds its
 * unique key from now on, or ""}.
 */
const transitionScript = defineScript(`${EVENT_LUA}${PLACES_LUA}${LEAVE_LUA}
local p = cjson.decode(ARGV[1])
local seen = redis.call('HMGET', KEYS[1], 'state', 'attempt', 'move', 'version')
-- This very move, made before: its reply was lost with the connection, and the client sent it again.
if seen[3] == p.move then return {tonumber(seen[4]), 0, 0, ''} end
if tonumber(seen[2] or 0) ~= p.attempt then return false end
local old
for i, state in ipairs(p.from) do
  if state == seen[1] then old = KEYS[17 + i] end
end
if not old then return false end
local line, succession = KEYS[18 + #p.from], KEYS[19 + #p.from]
if line and p.to == 'dispatching' then
  redis.call('HSETNX', line, 'holder', p.id)
  if redis.call('HGET', line, 'holder') ~= p.id then return false end
end

local now = clock()
local version = tonumber(seen[4]) + 1
if #p.del > 0 then redis.call('HDEL', KEYS[1], unpack(p.del)) end
redis.call('HSET', KEYS[1], 'state', p.to, 'version', version, 'move', p.move, unpack(p.set))
append_event(KEYS[1], KEYS[2], version, p.to, now, p.why)
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
  redis.call('ZREM', KEYS[4], p.place)
  local turn = tonumber(redis.call('ZSCORE', KEYS[14], p.place) or -1)
  redis.call('ZREM', KEYS[14], p.place)
  if turn >= 0 then
    -- Its turn was not had: else what its caller submits next would come after turns that nobody has. An unsettled start
    -- has none.
    redis.call('HINCRBY', KEYS[15], 'last:' .. p.place:sub(1, 1) .. caller_at(p.place), -1)
  end
  redis.call('HDEL', KEYS[15], 'again:' .. p.id)
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
    redis.call('HSET', KEYS[13], 'stdout', ARGV[4], 'stderr', ARGV[5], 'truncated', p.truncated)
    redis.call('EXPIRE', KEYS[13], ${OUTPUT_SECONDS})
  end
end
local heir = line and p.proven_over and leave_line(line, succession, p.id, now) or ''
local told = not p.untold and ((p.over and p.callback) or redis.call('EXISTS', KEYS[11]) == 1)
if told then
  local hash = redis.call('HGETALL', KEYS[1])
  redis.call('RPUSH', KEYS[10], cjson.encode({id = p.id, version = version, type = p.type, at = now, hash = hash}))
end
redis.call('XADD', KEYS[3], 'MAXLEN', '~', 100000, '*', 'id', p.id, 'version', version, 'state', p.to,
  'host', p.host, 'owner', p.owner, 'type', p.type)
redis.call('PUBLISH', p.channel, cjson.encode({p.id, version, p.to, p.host, p.owner, p.type}))
return {version, told and 1 or 0, freed, heir}
`);

export async function transition(
  redis: Redis,
  keys: Keys,
  job: Job,
  from: readonly State[],
  to: State,
  change: Change,
): Promise<{ job: Job; told: boolean; freed: boolean; heir: string | null } | false> {
  const { id, host } = job;
  const line = lineOf(keys, job);
  const reply = (await transitionScript(
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
      ...(line === null ? [] : [line, keys.succession]),
    ],
    [
      JSON.stringify(instructions(job, from, to, change, channelOf(keys, to))),
      change.tails?.stdout ?? '',
      change.tails?.stderr ?? '',
      change.output?.stdout ?? '',
      change.output?.stderr ?? '',
    ],
  )) as [number, number, number, string] | null;
  if (!reply) return false;
  const [version, told, freed, heir] = reply;
  const flags = { told: told === 1, freed: freed === 1, heir: heir === '' ? null : heir };
  return { job: moved(job, to, change, version), ...flags };
}

/** The job as the caller had it, with the change: what was noted of it meanwhile is in its record only. */
function moved(job: Job, to: State, change: Change, version: number): Job {
  const { why, eligible_at, tails, output, next_poll_at = null, type, untold, ...progress } = change;
  return { ...job, ...progress, state: to, version, next_poll_at };
}

function instructions(job: Job, from: readonly State[], to: State, change: Change, channel: string) {
  const { why, eligible_at, tails, output, next_poll_at, type, untold, ...progress } = change;
  const token = launchToken({ id: job.id, attempt: change.attempt ?? job.attempt });
  const { set, del } = encodeProgress(progress, token);
  if (next_poll_at != null) set.push(...glancedAt(job));
  return {
    id: job.id,
    host: job.host,
    place: placeOf(job),
    was_placed: from.some((state) => PLACED.has(state)),
    active: ACTIVE.has(to),
    was_active: from.some((state) => ACTIVE.has(state)),
    was_followed: from.some((state) => FOLLOWED.has(state)),
    owner: job.created_by,
    attempt: job.attempt,
    from,
    to,
    why,
    type: type ?? `job.${to}`,
    untold: untold ?? false,
    move: randomUUID().slice(0, 8),
    set,
    del,
    eligible_at: eligible_at ?? 0,
    deadline: to === 'queued' && (startBy({ ...job, ...progress }) ?? false),
    next_poll_at: next_poll_at ?? false,
    over: isOver(to),
    proven_over: isProvenOver({
      state: to,
      outcome: change.outcome ?? job.outcome,
      attempts: change.attempts ?? job.attempts,
    }),
    callback: job.callback_url !== null,
    tails: tails !== undefined && tailsPrefix(job, to),
    output: output !== undefined,
    truncated: output?.truncated ? 1 : 0,
    channel,
  };
}
