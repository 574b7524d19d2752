/**
 * Who sends what, now: origins that are due, and deliveries of one origin under leases. A claimed delivery stays
 * in its queue, due again when the lease ends: a killed sender's deliveries come back by themselves.
 */
import type { Keys } from '../keys.ts';
import { type Hash, results } from '../redis/replies.ts';
import { defineScript } from '../redis/script.ts';
import type { Redis } from '../redis.ts';
import { REARM_LUA, sending, waiting } from './places.ts';
import { type Delivery, decodeDelivery } from './record.ts';

/** A delivery that may be sent now, by whoever holds the lease. */
export interface Claimed {
  delivery: Delivery;
  /** The lease's end on Redis' clock; also the fence: a settlement under an older lease is void. */
  lease: number;
}

export interface Claim {
  claimed: Claimed[];
  /** When the origin should be looked at again: on Redis' clock, and in how many ms; null if nothing waits there. */
  next: { at: number; inMs: number } | null;
}

/** An origin that was named and not looked at is named again after so long, in ms. */
const NAMED_MS = 5_000;

/** KEYS 1 due ARGV 1 limit. Returns origins; each is then not due for a while, unless something makes it so. */
const takeDueScript = defineScript(`
local now = clock()
local origins = redis.call('ZRANGEBYSCORE', KEYS[1], '-inf', now, 'LIMIT', 0, ARGV[1])
for _, origin in ipairs(origins) do redis.call('ZADD', KEYS[1], now + ${NAMED_MS}, origin) end
return origins
`);

export async function takeDue(redis: Redis, keys: Keys, limit: number): Promise<string[]> {
  return (await takeDueScript(redis, [keys.deliveriesDue], [limit])) as string[];
}

/**
 * KEYS 1 waiting 2 sending 3 due
 * ARGV 1 origin 2 leases at once 3 how long a lease lasts, in ms
 * Returns {now, when to look again or -1, the leases' end, ids...}
 */
const claimScript = defineScript(`${REARM_LUA}
local now = clock()
redis.call('ZREMRANGEBYSCORE', KEYS[2], '-inf', now)
local free = tonumber(ARGV[2]) - redis.call('ZCARD', KEYS[2])
local ids = {}
if free > 0 then ids = redis.call('ZRANGEBYSCORE', KEYS[1], '-inf', now, 'LIMIT', 0, free) end
local lease = now + tonumber(ARGV[3])
for _, id in ipairs(ids) do
  redis.call('ZADD', KEYS[1], lease, id)
  redis.call('ZADD', KEYS[2], lease, id)
end
return {now, rearm(KEYS[1], KEYS[2], KEYS[3], ARGV[1], now), lease, unpack(ids)}
`);

export async function claim(
  redis: Redis,
  keys: Keys,
  origin: string,
  { perOrigin, leaseMs }: { perOrigin: number; leaseMs: number },
): Promise<Claim> {
  const [now, next, lease, ...ids] = (await claimScript(
    redis,
    [waiting(keys, origin), sending(keys, origin), keys.deliveriesDue],
    [origin, perOrigin, leaseMs],
  )) as [number, number, number, ...string[]];
  const pipeline = redis.pipeline();
  for (const id of ids) pipeline.hgetall(keys.delivery(id));
  const hashes = (ids.length > 0 ? await results(pipeline) : []) as Hash[];
  const claimed: Claim['claimed'] = [];
  const gone: string[] = [];
  ids.forEach((id, i) => {
    const delivery = decodeDelivery(id, hashes[i] ?? {});
    if (delivery) claimed.push({ delivery, lease });
    else gone.push(id);
  });
  // Deleted by hand: without this they would come due for ever.
  if (gone.length > 0) {
    await redis.zrem(waiting(keys, origin), ...gone);
    await redis.zrem(sending(keys, origin), ...gone);
  }
  return { claimed, next: next < 0 ? null : { at: next, inMs: Math.max(0, next - now) } };
}
