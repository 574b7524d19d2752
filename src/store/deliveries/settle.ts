/** What an attempt came to, committed only while its lease is still the one that counts. */
import type { Keys } from '../keys.ts';
import { defineScript } from '../redis/script.ts';
import type { Redis } from '../redis.ts';
import type { Claimed } from './claim.ts';
import { DEAD_KEPT_MS, DELIVERED_KEPT_MS, LISTED_MS, placesOf, REARM_LUA } from './places.ts';
import { type DeliveryAttempt, KEPT_ATTEMPTS } from './record.ts';

export type Verdict =
  | { kind: 'delivered' }
  | { kind: 'retry'; delayMs: number }
  | { kind: 'dead'; reason: string };

/**
 * KEYS 1 delivery 2 waiting 3 sending 4 due 5 the job's pending deliveries 6 dead 7 the receiver's dead
 * ARGV 1 id 2 origin 3 lease 4 delivered, retry or dead 5 delay in ms 6 reason 7 attempts as JSON
 * Returns 1, or 0 if the lease is not the present one.
 */
const settleScript = defineScript(`${REARM_LUA}
local id = ARGV[1]
if tonumber(redis.call('ZSCORE', KEYS[3], id) or 0) ~= tonumber(ARGV[3]) then return 0 end
local now = clock()
redis.call('ZREM', KEYS[3], id)
redis.call('HINCRBY', KEYS[1], 'tries', 1)
redis.call('HSET', KEYS[1], 'attempts', ARGV[7])
if ARGV[4] == 'retry' then
  local next = now + tonumber(ARGV[5])
  redis.call('ZADD', KEYS[2], next, id)
  redis.call('HSET', KEYS[1], 'next_attempt_at', next)
else
  redis.call('ZREM', KEYS[2], id)
  redis.call('SREM', KEYS[5], id)
  redis.call('HSET', KEYS[1], 'state', ARGV[4], 'ended_at', now)
  redis.call('HDEL', KEYS[1], 'next_attempt_at')
  redis.call('PEXPIRE', KEYS[1], ${DELIVERED_KEPT_MS})
end
if ARGV[4] == 'dead' then
  redis.call('HSET', KEYS[1], 'reason', ARGV[6])
  redis.call('PEXPIRE', KEYS[1], ${DEAD_KEPT_MS})
  for i = 6, 7 do
    redis.call('ZADD', KEYS[i], now, id)
    redis.call('ZREMRANGEBYSCORE', KEYS[i], '-inf', now - ${DEAD_KEPT_MS})
    redis.call('PEXPIRE', KEYS[i], ${LISTED_MS})
  end
end
rearm(KEYS[2], KEYS[3], KEYS[4], ARGV[2], now)
return 1
`);

export async function settle(
  redis: Redis,
  keys: Keys,
  { delivery, lease }: Claimed,
  attempt: DeliveryAttempt,
  verdict: Verdict,
): Promise<boolean> {
  const { id, origin } = delivery;
  const settled = await settleScript(redis, placesOf(keys, delivery), [
    id,
    origin,
    lease,
    verdict.kind,
    verdict.kind === 'retry' ? Math.round(verdict.delayMs) : 0,
    verdict.kind === 'dead' ? verdict.reason : '',
    JSON.stringify([...delivery.attempts, attempt].slice(-KEPT_ATTEMPTS)),
  ]);
  return settled === 1;
}
