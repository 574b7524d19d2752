/** Removing a record whose time is up, with everything that points to it. */
import type { Job } from '../../job/record.ts';
import type { Keys } from '../keys.ts';
import type { Redis } from '../redis.ts';
import { defineScript } from '../script.ts';

/** While deliveries are under way, its removal is put off by so much, in ms. */
const PUT_OFF_MS = 3_600_000;

/**
 * KEYS 1 expiring 2 deliveries under way 3 followed 4 hosts with followed jobs 5-9 indexes (all, owner, host,
 *      state, deadlines) 10.. keys to delete
 * ARGV 1 id 2 host
 * Returns 1 if removed, 0 if put off.
 */
const removeScript = defineScript(`
if redis.call('EXISTS', KEYS[2]) == 1 then
  redis.call('ZINCRBY', KEYS[1], ${PUT_OFF_MS}, ARGV[1])
  return 0
end
redis.call('ZREM', KEYS[1], ARGV[1])
redis.call('ZREM', KEYS[3], ARGV[1])
if redis.call('ZCARD', KEYS[3]) == 0 then redis.call('ZREM', KEYS[4], ARGV[2]) end
for i = 5, 9 do redis.call('ZREM', KEYS[i], ARGV[1]) end
redis.call('UNLINK', unpack(KEYS, 10))
return 1
`);

export async function remove(redis: Redis, keys: Keys, job: Job): Promise<boolean> {
  const { id, host } = job;
  const removed = await removeScript(
    redis,
    [
      keys.expiring,
      keys.deliveriesPending(id),
      keys.followed(host),
      keys.hostsFollowed,
      keys.jobsAll,
      keys.jobsByOwner(job.created_by),
      keys.jobsByHost(host),
      keys.jobsByState(job.state),
      keys.deadlines,
      keys.job(id),
      keys.jobRequest(id),
      keys.jobEvents(id),
      keys.jobTails(id),
      keys.jobOutput(id),
      ...(job.idempotency ? [keys.idempotency(job.created_by, job.idempotency)] : []),
    ],
    [id, host],
  );
  return removed === 1;
}
