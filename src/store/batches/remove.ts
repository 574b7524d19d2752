/** Removing a batch whose time is up, with everything that points to it. Its jobs go by their own time. */
import type { Batch } from '../../job/batch.ts';
import { CLAIMED_LUA } from '../jobs/idempotency.ts';
import type { Keys } from '../keys.ts';
import { defineScript } from '../redis/script.ts';
import type { Redis } from '../redis.ts';
import { uniqueKeyOf } from './accept.ts';

/** While deliveries are under way, its removal is put off by so much, in ms. */
const PUT_OFF_MS = 3_600_000;

/**
 * KEYS 1 expiring 2 deliveries under way 3 all 4 those of the owner 5 due 6 open 7 unique key 8 its hash 9.. to delete, too,
 *      then what requests claimed for it
 * ARGV 1 id 2 the version that the caller has seen 3 how many such claims
 * Returns 1 if removed, 0 if put off or changed since.
 */
const removeScript = defineScript(`${CLAIMED_LUA}
if redis.call('HGET', KEYS[8], 'version') ~= ARGV[2] then return 0 end
if redis.call('EXISTS', KEYS[2]) == 1 then
  redis.call('ZINCRBY', KEYS[1], ${PUT_OFF_MS}, ARGV[1])
  return 0
end
for i = 1, 6 do
  if i ~= 2 then redis.call('ZREM', KEYS[i], ARGV[1]) end
end
if redis.call('TYPE', KEYS[7]).ok == 'string' and redis.call('GET', KEYS[7]) == ARGV[1] then redis.call('DEL', KEYS[7]) end
local last = #KEYS - ARGV[3]
for i = 8, last do redis.call('UNLINK', KEYS[i]) end
for i = last + 1, #KEYS do
  local claim = claimed(KEYS[i])
  -- A key that was claimed for another batch since is that one's.
  if claim and claim:match(' (%S+)') == ARGV[1] then redis.call('UNLINK', KEYS[i]) end
end
return 1
`);

export async function remove(redis: Redis, keys: Keys, batch: Batch): Promise<boolean> {
  const { id, created_by: owner, idempotency } = batch;
  const attached = await redis.smembers(keys.batchAttached(id));
  const claims = [...attached, ...(idempotency ? [idempotency] : [])];
  const removed = await removeScript(
    redis,
    [
      keys.batchesExpiring,
      keys.deliveriesPending(id),
      keys.batchesAll,
      keys.batchesByOwner(owner),
      keys.batchesDue,
      keys.batchesOpen,
      uniqueKeyOf(keys, batch) ?? keys.batch(id),
      keys.batch(id),
      keys.batchRequest(id),
      keys.batchTargets(id),
      keys.batchMarks(id),
      keys.batchWaiting(id),
      keys.batchStarting(id),
      keys.batchHeld(id),
      keys.batchAttached(id),
      ...claims.map((digest) => keys.idempotency(owner, digest)),
    ],
    [id, batch.version, claims.length],
  );
  return removed === 1;
}
