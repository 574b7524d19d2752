/**
 * Answering a request with the batch that holds its unique key, under the request's own idempotency key: repeated, it is
 * answered with the same batch, even if that is over by then.
 */
import type { Batch } from '../../job/batch.ts';
import {
  attachedClaimOf,
  CLAIMED_LUA,
  digestOf,
  type Idempotency,
  type Taken,
  takenBy,
} from '../jobs/idempotency.ts';
import type { Keys } from '../keys.ts';
import { defineScript } from '../redis/script.ts';
import type { Redis } from '../redis.ts';

/**
 * KEYS 1 idempotency key 2 the batch's hash 3 what requests it was attached to
 * ARGV 1 what claims the key 2 the key's digest
 * Returns {1}; {0, its text} when the key is taken; {2} where the batch is over by now.
 */
const attachScript = defineScript(`${CLAIMED_LUA}
local taken = claimed(KEYS[1])
if taken then return {0, taken} end
if redis.call('HEXISTS', KEYS[2], 'state') == 0 or redis.call('HEXISTS', KEYS[2], 'ended_at') == 1 then return {2} end
redis.call('SET', KEYS[1], ARGV[1])
redis.call('SADD', KEYS[3], ARGV[2])
return {1}
`);

export async function attach(
  redis: Redis,
  keys: Keys,
  { id, created_by: owner }: Batch,
  { key, fingerprint }: Idempotency,
): Promise<'attached' | 'over' | { taken: Taken }> {
  const digest = digestOf(key);
  const reply = (await attachScript(
    redis,
    [keys.idempotency(owner, digest), keys.batch(id), keys.batchAttached(id)],
    [attachedClaimOf(id, fingerprint), digest],
  )) as [1] | [0, string] | [2];
  if (reply[0] === 0) return { taken: takenBy(reply[1], fingerprint) };
  return reply[0] === 1 ? 'attached' : 'over';
}
