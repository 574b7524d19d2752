/**
 * Slots: how many requests are under way to an agent at once (`max_requests`), counted in Redis for all
 * processes. A slot is a lease on Redis' clock, so that those of a killed process come back by themselves.
 */
import type { Keys } from './keys.ts';
import { defineScript } from './redis/script.ts';
import type { Redis } from './redis.ts';

export interface SlotStore {
  /**
   * Takes a slot if one is free. Starts take theirs with the mailbox (`mailbox.ts`).
   * @param holder unique to this request
   * @param leaseMs longer than the request can last, or renewed
   */
  takeIfFree(host: string, holder: string, options: { max: number; leaseMs: number }): Promise<boolean>;
  /** Keeps a slot that is still held. */
  renew(host: string, holder: string, leaseMs: number): Promise<void>;
  release(host: string, holder: string): Promise<void>;
}

/** How long a turn is kept for a question that found the only slot taken, in ms. */
const TURN_MS = 1_000;

/**
 * KEYS 1 slots 2 the host's health
 * ARGV 1 holder 2 max 3 lease in ms
 * Expired starts stay for \`take\`, which gives their jobs back. They do not count: a host that is down is asked who it
 * is before the next \`take\`, so a start that still counted would keep that question, and so itself, waiting for ever.
 */
const takeIfFreeScript = defineScript(`
local now = clock()
for _, holder in ipairs(redis.call('ZRANGEBYSCORE', KEYS[1], '-inf', now)) do
  if holder:sub(1, 6) ~= 'start:' then redis.call('ZREM', KEYS[1], holder) end
end
redis.call('ZREM', KEYS[1], 'next')
-- A host that is not known to be up is on probation: one request at a time.
local max = redis.call('HGET', KEYS[2], 'status') == 'up' and tonumber(ARGV[2]) or 1
if redis.call('ZCOUNT', KEYS[1], '(' .. now, '+inf') >= max then
  -- Where there is one slot only, a queue of starts would take it again at once, for ever: the next turn is ours.
  if max == 1 then redis.call('ZADD', KEYS[1], now + ${TURN_MS}, 'next') end
  return 0
end
redis.call('ZADD', KEYS[1], now + ARGV[3], ARGV[1])
return 1
`);

/** KEYS 1 slots ARGV 1 holder 2 lease in ms. Returns 1 if it is still held; a slot that was taken back stays so. */
const renewScript = defineScript(`
if not redis.call('ZSCORE', KEYS[1], ARGV[1]) then return 0 end
redis.call('ZADD', KEYS[1], 'XX', clock() + ARGV[2], ARGV[1])
return 1
`);

/** @returns whether it is still held: one that expired may have been taken back */
export async function renewSlot(
  redis: Redis,
  keys: Keys,
  host: string,
  holder: string,
  leaseMs: number,
): Promise<boolean> {
  return (await renewScript(redis, [keys.slots(host)], [holder, leaseMs])) === 1;
}

export function createSlotStore({ redis, keys }: { redis: Redis; keys: Keys }): SlotStore {
  return {
    async takeIfFree(host, holder, { max, leaseMs }) {
      return (
        (await takeIfFreeScript(
          redis,
          [keys.slots(host), keys.hostHealth(host)],
          [`ask:${holder}`, max, leaseMs],
        )) === 1
      );
    },
    async renew(host, holder, leaseMs) {
      await renewSlot(redis, keys, host, `ask:${holder}`, leaseMs);
    },
    async release(host, holder) {
      await redis.zrem(keys.slots(host), `ask:${holder}`);
    },
  };
}
