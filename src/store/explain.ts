/**
 * Where a job stands in its host's queue and what the host's limits have left, read at one moment by a script that
 * changes nothing. It counts as `mailbox/take.ts` does; what it means for the job is `job/waiting-for.ts`.
 */
import type { HostRate } from '../job/host.ts';
import type { Job } from '../job/record.ts';
import type { HostQueue } from '../job/waiting-for.ts';
import { bucketOf, TAT_LUA } from './budget.ts';
import type { Keys } from './keys.ts';
import { HELD_AT, PLACES_LUA, placeOf } from './mailbox/places.ts';
import { defineScript } from './redis/script.ts';
import type { Redis } from './redis.ts';

/** @param rate the rate in force (`rateOf`); null for none */
export type ReadQueue = (job: Job, rate: HostRate | null) => Promise<{ now: number; queue: HostQueue }>;

/**
 * KEYS 1 mailbox 2 ready 3 slots 4 active jobs 5 budget 6 armed
 * ARGV 1 host 2 place 3 interval and 4 tolerance of the rate in ms (0: none)
 * Returns {now, where the place is or "", from when it may start, jobs before it, jobs that wait, requests under way,
 * starts among them, active jobs, tokens, when the next token comes, when the mailbox is looked at}; -1 for none.
 */
const readScript = defineScript(`
${PLACES_LUA}
${TAT_LUA}
local now = clock()
local place = ARGV[2]
local ready, later = redis.call('ZCARD', KEYS[2]), redis.call('ZCARD', KEYS[1])
local where, eligible_at, ahead = '', -1, 0
local rank = redis.call('ZRANK', KEYS[2], place)
if rank then
  where, ahead = 'ready', rank
else
  local due = redis.call('ZSCORE', KEYS[1], place)
  if due then
    where, eligible_at, ahead = 'later', tonumber(due), ready + redis.call('ZRANK', KEYS[1], place)
  end
end

local requests, starts, jobs = 0, 0, redis.call('ZCARD', KEYS[4])
local holders = redis.call('ZRANGE', KEYS[3], 0, -1, 'WITHSCORES')
for i = 1, #holders, 2 do
  local start = place_in(holders[i])
  if start then
    starts = starts + 1
    if not redis.call('ZSCORE', KEYS[4], id_at(start)) then jobs = jobs + 1 end
    if start == place then
      -- What a dead process held is taken again with the next look.
      where = tonumber(holders[i + 1]) > now and 'taken' or 'later'
    end
  end
  if holders[i] ~= 'next' and (start or tonumber(holders[i + 1]) > now) then requests = requests + 1 end
end

local tokens, token_at = -1, -1
local interval, tolerance = tonumber(ARGV[3]), tonumber(ARGV[4])
if interval > 0 then
  local early = now + tolerance - math.max(now, (tat_at(KEYS[5], now, interval)))
  tokens = early < 0 and 0 or math.floor(early / interval) + 1
  if early < 0 then token_at = now - early end
end
local look = tonumber(redis.call('ZSCORE', KEYS[6], ARGV[1]) or -1)
return {now, where, math.ceil(eligible_at), ahead, ready + later, requests, starts, jobs, tokens, math.ceil(token_at),
  math.ceil(look)}
`);

export function createReadQueue({ redis, keys }: { redis: Redis; keys: Keys }): ReadQueue {
  return async (job, rate) => {
    const { host } = job;
    const { intervalMs, toleranceMs } = bucketOf(rate);
    const [now, place, ...counts] = (await readScript(
      redis,
      [
        keys.mailbox(host),
        keys.ready(host),
        keys.slots(host),
        keys.activeJobs(host),
        keys.hostBudget(host),
        keys.armed,
      ],
      [host, placeOf(job), intervalMs, toleranceMs],
    )) as [number, HostQueue['place'] | '', ...number[]];
    const [eligible = -1, ahead = 0, waiting = 0, requests = 0, starts = 0, jobs = 0, ...more] = counts;
    const [tokens = -1, tokenAt = -1, lookAt = -1] = more;
    return {
      now,
      queue: {
        place: place === '' ? null : place,
        eligible_at: eligible > now && eligible < HELD_AT ? eligible : null,
        held: eligible >= HELD_AT,
        ahead,
        waiting,
        requests,
        starts,
        jobs,
        tokens: orNull(tokens),
        next_token_at: orNull(tokenAt),
        look_at: lookAt < HELD_AT ? orNull(lookAt) : null,
      },
    };
  };
}

function orNull(value: number): number | null {
  return value === -1 ? null : value;
}
