/**
 * Leases: who does something that only one process should do at a time (ask a host, hold a request there,
 * sweep). They expire on Redis' clock, so nothing is blocked for long by a process that died. They save work;
 * correctness never rests on them, because every change of a job is a compare-and-set.
 */
import type { Keys } from './keys.ts';
import { defineScript } from './redis/script.ts';
import type { Redis } from './redis.ts';

export interface Leases {
  /** Claims `name` for `owner`, or renews one's own; false if somebody else has it. */
  claim(name: string, owner: string, ttlMs: number): Promise<boolean>;
  isClaimed(name: string): Promise<boolean>;
  /** For each of many whether nobody has it. */
  unclaimed(names: string[]): Promise<boolean[]>;
  releaseIfHeldBy(name: string, owner: string): Promise<void>;
}

/** The names of a host's leases. */
export const pollLease = (host: string) => `poll:${host}`;
export const holdLease = (host: string) => `hold:${host}`;

/** KEYS 1 lease ARGV 1 owner 2 lifetime in ms. Returns 1 if claimed. */
const claimScript = defineScript(`
local holder = redis.call('GET', KEYS[1])
if holder and holder ~= ARGV[1] then return 0 end
redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
return 1
`);

/** KEYS 1 lease ARGV 1 owner */
const releaseScript = defineScript(`
if redis.call('GET', KEYS[1]) == ARGV[1] then redis.call('DEL', KEYS[1]) end
`);

export function createLeases({ redis, keys }: { redis: Redis; keys: Keys }): Leases {
  return {
    async claim(name, owner, ttlMs) {
      return (await claimScript(redis, [keys.lease(name)], [owner, ttlMs])) === 1;
    },
    async isClaimed(name) {
      return (await redis.exists(keys.lease(name))) === 1;
    },
    async unclaimed(names) {
      if (names.length === 0) return [];
      return (await redis.mget(names.map(keys.lease))).map((owner) => owner === null);
    },
    async releaseIfHeldBy(name, owner) {
      await releaseScript(redis, [keys.lease(name)], [owner]);
    },
  };
}
