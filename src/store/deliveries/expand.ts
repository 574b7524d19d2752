/** From the outbox to deliveries: the entry goes in the script that makes them, so a crash neither loses nor doubles. */
import type { Keys } from '../keys.ts';
import { defineScript } from '../redis/script.ts';
import type { Redis } from '../redis.ts';
import type { Outgoing } from './outbox.ts';
import { LISTED_MS, listOf, waiting } from './places.ts';
import { encodeDelivery, type NewDelivery, originOf } from './record.ts';

/**
 * KEYS 1 outbox 2 due 3 the pending deliveries of the job or batch; for each delivery: its hash, waiting, list
 * ARGV 1 the entry 2 how many deliveries; for each: id, origin, how many texts follow, names and values
 * Returns 1, or 0 if the entry is gone.
 */
const expandScript = defineScript(`
if redis.call('LREM', KEYS[1], 1, ARGV[1]) == 0 then return 0 end
local now = clock()
local k, a = 4, 3
for _ = 1, tonumber(ARGV[2]) do
  local id, origin, texts = ARGV[a], ARGV[a + 1], tonumber(ARGV[a + 2])
  if redis.call('EXISTS', KEYS[k]) == 0 then
    redis.call('HSET', KEYS[k], 'state', 'pending', 'tries', 0, 'created_at', now, 'next_attempt_at', now,
      'origin', origin, unpack(ARGV, a + 3, a + 2 + texts))
    redis.call('ZADD', KEYS[k + 1], now, id)
    redis.call('ZADD', KEYS[2], 'LT', now, origin)
    redis.call('SADD', KEYS[3], id)
    redis.call('ZADD', KEYS[k + 2], now, id)
    redis.call('ZREMRANGEBYSCORE', KEYS[k + 2], '-inf', now - ${LISTED_MS})
    redis.call('PEXPIRE', KEYS[k + 2], ${LISTED_MS})
  end
  k = k + 3
  a = a + 3 + texts
end
return 1
`);

export async function expand(
  redis: Redis,
  keys: Keys,
  { text, entry }: Outgoing,
  deliveries: NewDelivery[],
): Promise<boolean> {
  const names = [keys.outbox, keys.deliveriesDue, keys.deliveriesPending(entry?.id ?? '')];
  const args: (string | number)[] = [text, deliveries.length];
  for (const delivery of deliveries) {
    const origin = originOf(delivery.url);
    const texts = encodeDelivery(delivery);
    names.push(keys.delivery(delivery.id), waiting(keys, origin), listOf(keys, delivery));
    args.push(delivery.id, origin, texts.length, ...texts);
  }
  return (await expandScript(redis, names, args)) === 1;
}
