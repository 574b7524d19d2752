/** Removing a record whose time is up, with everything that points to it. */
import type { Job } from '../../job/record.ts';
import type { Keys } from '../keys.ts';
import { defineScript } from '../redis/script.ts';
import type { Redis } from '../redis.ts';
import { LEAVE_LUA, lineOf } from './line.ts';

/** While deliveries are under way, its removal is put off by so much, in ms. */
const PUT_OFF_MS = 3_600_000;

/**
 * KEYS 1 expiring 2 deliveries under way 3 followed 4 hosts with followed jobs 5-9 indexes (all, owner, host,
 *      state, deadlines) 10.. keys to delete, then, of jobs with a unique key only, its line, the succession, and what
 *      requests it was attached to
 * ARGV 1 id 2 host 3 how many keys to delete (the job's own first) 4 to how many requests it was attached
 *      5 the version that the caller has seen
 * Returns 1 if removed, 0 if put off or moved since.
 */
const removeScript = defineScript(`${LEAVE_LUA}
-- A lost job that was corrected just now is kept from that on, and would leave its entry in the index of its new state.
if redis.call('HGET', KEYS[10], 'version') ~= ARGV[5] then return 0 end
local last = 9 + ARGV[3]
local line, succession, attached = KEYS[last + 1], KEYS[last + 2], KEYS[last + 3]
-- Attached to one more since the caller looked: that request's key is to go, too.
local is_new = line and redis.call('SCARD', attached) ~= tonumber(ARGV[4])
if is_new or redis.call('EXISTS', KEYS[2]) == 1 then
  redis.call('ZINCRBY', KEYS[1], ${PUT_OFF_MS}, ARGV[1])
  return 0
end
redis.call('ZREM', KEYS[1], ARGV[1])
redis.call('ZREM', KEYS[3], ARGV[1])
if redis.call('ZCARD', KEYS[3]) == 0 then redis.call('ZREM', KEYS[4], ARGV[2]) end
for i = 5, 9 do redis.call('ZREM', KEYS[i], ARGV[1]) end
-- One by one: a job may have been attached to more requests than Lua can unpack.
for i = 10, last do redis.call('UNLINK', KEYS[i]) end
if line then leave_line(line, succession, ARGV[1], clock()) end
return 1
`);

export async function remove(redis: Redis, keys: Keys, job: Job): Promise<boolean> {
  const { id, host, created_by: owner } = job;
  const line = lineOf(keys, job);
  const attached = line === null ? [] : await redis.smembers(keys.jobAttached(id));
  const claims = [...attached, ...(job.idempotency ? [job.idempotency] : [])];
  const toDelete = [
    keys.job(id),
    keys.jobRequest(id),
    keys.jobEvents(id),
    keys.jobTails(id),
    keys.jobOutput(id),
    ...(line === null ? [] : [keys.jobAttached(id)]),
    ...claims.map((digest) => keys.idempotency(owner, digest)),
  ];
  const removed = await removeScript(
    redis,
    [
      keys.expiring,
      keys.deliveriesPending(id),
      keys.followed(host),
      keys.hostsFollowed,
      keys.jobsAll,
      keys.jobsByOwner(owner),
      keys.jobsByHost(host),
      keys.jobsByState(job.state),
      keys.deadlines,
      ...toDelete,
      ...(line === null ? [] : [line, keys.succession, keys.jobAttached(id)]),
    ],
    [id, host, toDelete.length, attached.length, job.version],
  );
  return removed === 1;
}
