/**
 * The followed sets: for each host the jobs that it is asked about, by the time of their next question.
 * Membership changes with the job's state only (`jobs/transition.ts`); this file reads it and moves the times.
 */
import type { Keys } from './keys.ts';
import { defineScript } from './redis/script.ts';
import type { Redis } from './redis.ts';

export interface Followed {
  /** Every followed id of a host, that with the soonest question first. */
  of(host: string): Promise<string[]>;
  /** Redis' time, and the ids that are due by it, soonest first, at most `limit`. */
  due(host: string, limit: number): Promise<{ now: number; ids: string[] }>;
  /** In how many ms the soonest question is due, negative where it is late; null if there are no followed jobs. */
  nextInMs(host: string): Promise<number | null>;
  /** Drops ids that have no record any more. */
  forget(host: string, ids: string[]): Promise<void>;
  /** Sets times of next questions; jobs that are no longer followed are left out. */
  askAt(host: string, times: ReadonlyMap<string, number>): Promise<void>;
  /** Has every followed job of a host asked about at once: it was away, and answers again. */
  askAllNow(host: string): Promise<void>;
  /** Hosts with followed jobs, those whose following began last first. */
  hosts(limit: number): Promise<string[]>;
  /** Hosts whose soonest question has been due for more than `lateMs`: nobody asks them. */
  unasked(lateMs: number): Promise<{ host: string; lateMs: number }[]>;
}

/** Hosts looked at in one script. */
const BATCH = 500;

/** KEYS 1 followed ARGV 1 limit. Returns {now, ids...}. */
const dueScript = defineScript(`
local now = clock()
return {now, unpack(redis.call('ZRANGEBYSCORE', KEYS[1], '-inf', now, 'LIMIT', 0, ARGV[1]))}
`);

/** KEYS followed sets. Returns for each in how many ms its soonest question is due, or false. */
const nextScript = defineScript(`
local now = clock()
local next = {}
for i = 1, #KEYS do
  local first = redis.call('ZRANGE', KEYS[i], 0, 0, 'WITHSCORES')
  next[i] = first[2] and math.ceil(first[2] - now) or false
end
return next
`);

/** KEYS 1 followed */
const askAllNowScript = defineScript(`
local now = clock()
for _, id in ipairs(redis.call('ZRANGE', KEYS[1], 0, -1)) do redis.call('ZADD', KEYS[1], now, id) end
`);

export function createFollowed({ redis, keys }: { redis: Redis; keys: Keys }): Followed {
  async function nextOf(hosts: string[]): Promise<(number | null)[]> {
    return (await nextScript(redis, hosts.map(keys.followed), [])) as (number | null)[];
  }

  return {
    of: (host) => redis.zrange(keys.followed(host), '0', '-1'),
    async due(host, limit) {
      const found = await dueScript(redis, [keys.followed(host)], [limit]);
      const [now, ...ids] = found as [number, ...string[]];
      return { now, ids };
    },
    nextInMs: async (host) => (await nextOf([host]))[0] ?? null,
    async forget(host, ids) {
      if (ids.length > 0) await redis.zrem(keys.followed(host), ...ids);
    },
    async askAt(host, times) {
      if (times.size === 0) return;
      const scored = [...times].flatMap(([id, at]) => [String(at), id]);
      await redis.call('ZADD', keys.followed(host), 'XX', ...scored);
    },
    async askAllNow(host) {
      await askAllNowScript(redis, [keys.followed(host)], []);
    },
    hosts: (limit) => redis.zrevrange(keys.hostsFollowed, 0, limit - 1),
    async unasked(lateMs) {
      const hosts = await redis.zrange(keys.hostsFollowed, 0, '-1');
      const late: { host: string; lateMs: number }[] = [];
      for (let from = 0; from < hosts.length; from += BATCH) {
        const some = hosts.slice(from, from + BATCH);
        for (const [i, next] of (await nextOf(some)).entries()) {
          if (next !== null && -next > lateMs) late.push({ host: some[i] as string, lateMs: -next });
        }
      }
      return late;
    },
  };
}
