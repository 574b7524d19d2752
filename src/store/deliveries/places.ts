/**
 * Where deliveries have their places, how long they keep them, and the one way to say when an origin is next
 * looked at. `deliveriesDue` is a ZSET of origins; each has two of deliveries, waiting and being sent.
 */
import type { Keys } from '../keys.ts';
import type { Delivery } from './record.ts';

/** The target of all callbacks, in the place of an endpoint's id. */
export const CALLBACKS = 'callbacks';

/** How long the record of a delivery that arrived is kept, in ms. */
export const DELIVERED_KEPT_MS = 3 * 86_400_000;
/** How long a dead one can still be read and sent again, in ms. */
export const DEAD_KEPT_MS = 7 * 86_400_000;
/** Lists forget what is older: longer than all attempts and the time of the dead together. */
export const LISTED_MS = 14 * 86_400_000;

/** ZSET id -> when it is due; for one being sent: when its lease ends. */
export function waiting(keys: Keys, origin: string): string {
  return `${keys.deliveriesDue}:${origin}`;
}

/** ZSET id -> when its lease ends. */
export function sending(keys: Keys, origin: string): string {
  return `${keys.deliveriesDue}:${origin}:sending`;
}

/** ZSET id -> when it was made. Callbacks have a list for each owner, so that a page shows only one's own. */
export function listOf(keys: Keys, { target, owner }: { target: string; owner: string }): string {
  return keys.deliveriesOf(target === CALLBACKS ? `${CALLBACKS}:${owner}` : target);
}

/** ZSET id -> when it died. */
export function deadListOf(keys: Keys, of: { target: string; owner: string }): string {
  return `${listOf(keys, of)}:dead`;
}

/** KEYS of the scripts that end a delivery or send it again, as their headers number them. */
export function placesOf(keys: Keys, delivery: Delivery): string[] {
  const { id, origin, subject } = delivery;
  return [
    keys.delivery(id),
    waiting(keys, origin),
    sending(keys, origin),
    keys.deliveriesDue,
    keys.deliveriesPending(subject),
    keys.deliveriesDead,
    deadListOf(keys, delivery),
  ];
}

/**
 * Lua: `rearm(waiting, sending, due, origin, now)`, to be called after every change of an origin's places. Returns
 * when the origin is looked at next, or -1.
 */
export const REARM_LUA = `
local function rearm(waiting, sending, due, origin, now)
  local first = redis.call('ZRANGE', waiting, 0, 0, 'WITHSCORES')
  if #first == 0 then
    redis.call('ZREM', due, origin)
    return -1
  end
  local at = tonumber(first[2])
  if at <= now then
    -- No room: the next request to end makes some, at the latest the end of its lease.
    local lease = redis.call('ZRANGE', sending, 0, 0, 'WITHSCORES')
    if #lease > 0 then at = tonumber(lease[2]) end
  end
  redis.call('ZADD', due, at, origin)
  return at
end
`;
