/** Sending again: the same id and body, the schedule from its start. */
import type { Keys } from '../keys.ts';
import { defineScript } from '../redis/script.ts';
import type { Redis } from '../redis.ts';
import { placesOf } from './places.ts';
import type { Delivery } from './record.ts';

/**
 * KEYS 1 delivery 2 waiting 3 sending 4 due 5 the job's pending deliveries 6 dead 7 the receiver's dead
 * ARGV 1 id 2 origin
 * Returns 1, or 0 if there is no such delivery. One that is being sent is left alone.
 */
const redeliverScript = defineScript(`
local id = ARGV[1]
local now = clock()
if redis.call('EXISTS', KEYS[1]) == 0 then return 0 end
if tonumber(redis.call('ZSCORE', KEYS[3], id) or 0) > now then return 1 end
redis.call('HSET', KEYS[1], 'state', 'pending', 'tries', 0, 'next_attempt_at', now)
redis.call('HDEL', KEYS[1], 'ended_at', 'reason')
redis.call('PERSIST', KEYS[1])
redis.call('SADD', KEYS[5], id)
redis.call('ZREM', KEYS[6], id)
redis.call('ZREM', KEYS[7], id)
redis.call('ZADD', KEYS[2], now, id)
redis.call('ZADD', KEYS[4], 'LT', now, ARGV[2])
return 1
`);

export async function redeliver(redis: Redis, keys: Keys, delivery: Delivery): Promise<boolean> {
  const { id, origin } = delivery;
  const found = await redeliverScript(redis, placesOf(keys, delivery), [id, origin]);
  return found === 1;
}
