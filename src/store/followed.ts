/**
 * The followed sets: for each host the jobs that it is asked about, by the time of their next question.
 * Membership changes with the job's state only (`jobs/transition.ts`); this file reads it and moves the times.
 */
import type { Keys } from './keys.ts';
import type { Redis } from './redis.ts';
import { defineScript } from './script.ts';

export interface Followed {
  /** Every followed id of a host with the time of its next question, soonest first. */
  of(host: string): Promise<{ id: string; at: number }[]>;
  /** Ids that are due at `now`, soonest first, at most `limit`. */
  due(host: string, now: number, limit: number): Promise<string[]>;
  /** The time of the soonest question; null if there are no followed jobs. */
  firstAt(host: string): Promise<number | null>;
  /** Drops ids that have no record any more. */
  forget(host: string, ids: string[]): Promise<void>;
  /** Sets times of next questions; jobs that are no longer followed are left out. */
  askAt(host: string, times: Map<string, number>): Promise<void>;
  /** Has every followed job of a host asked about at once: it was away, and answers again. */
  askAllNow(host: string): Promise<void>;
  /** Hosts with followed jobs, those whose following began last first. */
  hosts(limit: number): Promise<string[]>;
}

/** KEYS 1 followed */
const askAllNowScript = defineScript(`
local t = redis.call('TIME')
local now = t[1] * 1000 + math.floor(t[2] / 1000)
for _, id in ipairs(redis.call('ZRANGE', KEYS[1], 0, -1)) do redis.call('ZADD', KEYS[1], now, id) end
`);

export function createFollowed({ redis, keys }: { redis: Redis; keys: Keys }): Followed {
  return {
    async of(host) {
      const flat = await redis.zrange(keys.followed(host), '0', '-1', 'WITHSCORES');
      return Array.from({ length: flat.length / 2 }, (_, i) => ({
        id: flat[2 * i] as string,
        at: Number(flat[2 * i + 1]),
      }));
    },
    due: (host, now, limit) => redis.zrangebyscore(keys.followed(host), '-inf', now, 'LIMIT', 0, limit),
    async firstAt(host) {
      const [, at] = await redis.zrange(keys.followed(host), '0', '0', 'WITHSCORES');
      return at === undefined ? null : Number(at);
    },
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
  };
}
