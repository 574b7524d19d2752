/**
 * A host's budget of requests: a token bucket (GCRA, the virtual scheduling form of ITU-T I.371) on Redis' clock,
 * from which every request of every process to the host is paid, because its agent counts them all.
 *
 * Three classes share it: starts, questions about jobs, and people's reads, in parts of 3 : 2 : 1 while all of them
 * want something (start-time fair queueing, Goyal et al. 1996). What one class does not want, the others get: so a
 * host full of long jobs can still be given new ones, and a flood of starts leaves room to ask about what runs.
 *
 * A bucket with burst `b` lets at most `limit + b` requests into any one period. Hosts without a rate cost nothing.
 */
import { setTimeout as pause } from 'node:timers/promises';
import { SluiceError } from '../job/errors.ts';
import { burstOf, type HostRate } from '../job/host.ts';
import type { Keys } from './keys.ts';
import { defineScript } from './redis/script.ts';
import type { Redis } from './redis.ts';

/** What a request is for: a start or a cancel with all they need, a question about jobs, or a person's read. */
export const REQUEST_CLASSES = ['start', 'follow', 'read'] as const;
export type RequestClass = (typeof REQUEST_CLASSES)[number];

/** How long a class that found no token keeps its right to the next one beyond that one's time, in ms. */
const GRACE_MS = 250;
/** A bucket that nobody used for so long is full anyway, in seconds. */
const KEPT_SECONDS = 86_400;
const HOUR_MS = 3_600_000;

/**
 * Lua: `tat_of(held, now, interval)`, where `held` is what HMGET gives of `tat`, `interval` and `at`, returns the theoretical
 * arrival time of the next request, and whether the pace or the clock is another than that of the last one; `tat_at(key, now,
 * interval)` is the same of a bucket. What is owed is owed in requests: at a wider rate it is paid back sooner, else jobs that waited for a narrow one would go on waiting for hours after it was widened. A clock that was set back
 * takes the time along: nothing is owed for the hours that come again.
 */
export const TAT_LUA = `
local function tat_of(held, now, interval)
  local tat, paced = tonumber(held[1] or 0), tonumber(held[2] or interval)
  local back = math.max(0, tonumber(held[3] or 0) - now)
  tat = tat - back
  if paced == interval or tat <= now then return tat, paced ~= interval or back > 0 end
  return now + (tat - now) * interval / paced, true
end
local function tat_at(key, now, interval)
  return tat_of(redis.call('HMGET', key, 'tat', 'interval', 'at'), now, interval)
end
`;

/** Lua: `owe(key, ms)`: a request went out so much later than its token was good, and all after it are to come as much later. */
export const OWE_LUA = `
local function owe(key, ms)
  if redis.call('HEXISTS', key, 'tat') == 1 then redis.call('HINCRBYFLOAT', key, 'tat', ms) end
end
`;

/**
 * Lua: `spend(key, now, interval, tolerance, class, most)` takes up to `most` tokens for a class and returns how
 * many it got, in how many ms to ask again if it wanted more, and for how many ms the last one is good: a request that
 * is sent by its theoretical arrival time leaves the bucket within its bounds, a later one would come on top of others.
 *
 * The hash holds `tat`, the theoretical arrival time of the next request at the even pace of `interval`, as of `at`; `clock`, the
 * virtual time of the sharing; and for each class its virtual finish and until when it counts as waiting.
 */
export const SPEND_LUA = `
${TAT_LUA}
local SHARES = {start = 3, follow = 2, read = 1}
local function spend(key, now, interval, tolerance, class, most)
  if interval == 0 then return most, 0, 0 end
  local held = redis.call('HMGET', key, 'tat', 'interval', 'at', 'clock', 'start', 'follow', 'read',
    'start_waits', 'follow_waits', 'read_waits')
  local tat, is_repaced = tat_of(held, now, interval)
  for i = 4, 10 do held[i] = tonumber(held[i] or 0) end
  local virtual = held[4]
  local finish = {start = held[5], follow = held[6], read = held[7]}
  local waits = {start = held[8], follow = held[9], read = held[10]}
  -- Who waited at another pace, or by another clock, asks again.
  if is_repaced then waits = {start = 0, follow = 0, read = 0} end
  local granted, wait, good = 0, 0, 0
  while granted < most do
    local at = math.max(tat, now)
    if at - now > tolerance then
      wait = math.ceil(at - now - tolerance)
      break
    end
    local mine = math.max(virtual, finish[class])
    local first = true
    for other in pairs(SHARES) do
      if other ~= class and waits[other] > now and math.max(virtual, finish[other]) < mine then first = false end
    end
    if not first then
      -- The token is there, but another class waits that has had less: this one comes for the next.
      wait = math.ceil(interval)
      break
    end
    tat = at + interval
    good = math.floor(at - now)
    virtual = mine
    finish[class] = mine + 1 / SHARES[class]
    granted = granted + 1
  end
  waits[class] = granted < most and now + wait + ${GRACE_MS} or 0
  redis.call('HSET', key, 'tat', string.format('%.3f', tat), 'at', now, 'interval', interval, 'clock', string.format('%.6f', virtual),
    class, string.format('%.6f', finish[class]), class .. '_waits', waits[class])
  -- Where it is full again within an hour, once in each is enough.
  if tolerance + interval > ${HOUR_MS} or math.floor(now / ${HOUR_MS}) ~= math.floor(tonumber(held[3] or 0) / ${HOUR_MS}) then
    redis.call('EXPIRE', key, math.ceil(math.max(tat - now, tolerance + interval) / 1000) + ${KEPT_SECONDS})
  end
  return granted, wait, good
end
`;

/** KEYS 1 budget ARGV 1 interval in ms 2 tolerance in ms 3 class 4 the most to take. Returns {granted, wait in ms}. */
const spendScript = defineScript(`
${SPEND_LUA}
local granted, wait = spend(KEYS[1], clock(), tonumber(ARGV[1]), tonumber(ARGV[2]), ARGV[3], tonumber(ARGV[4]))
return {granted, wait}
`);

/** KEYS 1 budget ARGV 1 interval in ms 2 tolerance in ms. Returns how many tokens there are now. */
const tokensScript = defineScript(`
${TAT_LUA}
local now = clock()
local left = now + ARGV[2] - math.max(now, (tat_at(KEYS[1], now, tonumber(ARGV[1]))))
return left < 0 and 0 or math.floor(left / ARGV[1]) + 1
`);

export interface Budget {
  /**
   * Pays for one request, waiting for its token as long as `patienceMs`.
   * @throws SluiceError host_busy where none came in time; nothing was sent then
   */
  pay(host: string, rate: HostRate | null, options: { for: RequestClass; patienceMs: number }): Promise<void>;
  /** How many requests the host would take at once now; null where it has no rate. */
  tokens(host: string, rate: HostRate | null): Promise<number | null>;
}

export function createBudget({
  redis,
  keys,
  onWait,
}: {
  redis: Redis;
  keys: Keys;
  /** A request has to wait for its token; for metrics. */
  onWait?: (what: RequestClass) => void;
}): Budget {
  return {
    async pay(host, rate, options) {
      if (rate === null) return;
      const { intervalMs, toleranceMs } = bucketOf(rate);
      const end = performance.now() + options.patienceMs;
      for (let isFirst = true; ; isFirst = false) {
        const [granted, waitMs] = (await spendScript(
          redis,
          [keys.hostBudget(host)],
          [intervalMs, toleranceMs, options.for, 1],
        )) as [number, number];
        if (granted === 1) return;
        if (isFirst) onWait?.(options.for);
        if (performance.now() + waitMs > end) throw tooSoon(host, rate, waitMs);
        await pause(Math.max(waitMs, 1));
      }
    },
    async tokens(host, rate) {
      if (rate === null) return null;
      const { intervalMs, toleranceMs } = bucketOf(rate);
      return (await tokensScript(redis, [keys.hostBudget(host)], [intervalMs, toleranceMs])) as number;
    },
  };
}

/** KEYS 1 budget ARGV 1 how much later, in ms */
const oweScript = defineScript(`
${OWE_LUA}
owe(KEYS[1], ARGV[1])
`);

/** A request went out so much later than its token was good: all after it are to come as much later. */
export async function owe(redis: Redis, keys: Keys, host: string, lateMs: number): Promise<void> {
  await oweScript(redis, [keys.hostBudget(host)], [lateMs]);
}

/** The bucket in GCRA's terms, in ms: the pace of tokens, and how far ahead of it requests may come. 0: no limit. */
export function bucketOf(rate: HostRate | null): { intervalMs: number; toleranceMs: number } {
  if (rate === null) return { intervalMs: 0, toleranceMs: 0 };
  const intervalMs = (rate.period_seconds * 1_000) / rate.limit;
  return { intervalMs, toleranceMs: (burstOf(rate) - 1) * intervalMs };
}

function tooSoon(host: string, { limit, period_seconds }: HostRate, waitMs: number): SluiceError {
  const detail = `${host} takes ${limit} requests in ${period_seconds} s, and they are spoken for`;
  return new SluiceError('host_busy', detail, { fields: { retry_after: Math.ceil(waitMs / 1_000) } });
}
