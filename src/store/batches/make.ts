/**
 * Making the next job of a batch: the job is accepted and the batch goes on to its next target in one script, so that a
 * crash neither makes one twice nor leaves one out, and every limit is looked at for each of them.
 */
import type { Job } from '../../job/record.ts';
import { ENQUEUE_LUA, enqueued } from '../jobs/enqueue.ts';
import type { Keys } from '../keys.ts';
import { defineScript } from '../redis/script.ts';
import type { Redis } from '../redis.ts';
import { COURSE_LUA, courseKeys } from './course.ts';

/**
 * KEYS 1-12 and ARGV 1-10 as in `jobs/enqueue.ts`, KEYS 13.. the batch's (`course.ts`)
 * ARGV 11 the batch's id 12 which of its targets
 * Returns -1 if this target's turn has passed, or has not come, or nothing may be made now; else 1 if the host must be
 * looked at, or 0.
 */
const makeScript = defineScript(`${ENQUEUE_LUA}${COURSE_LUA}
local b, index, now = batch_at(13, ARGV[11]), tonumber(ARGV[12]), clock()
if redis.call('HGET', b.hash, 'made') ~= ARGV[12] then return -1 end
local state, room = batch_settle(b, now, false)
if not state or room <= 0 then return -1 end
local wake = 0
if redis.call('EXISTS', KEYS[1]) == 0 then
  wake = enqueue(now, math.max(now, tonumber(ARGV[5])), 'accepted as part of ' .. ARGV[11])
end
redis.call('HINCRBY', b.hash, 'made', 1)
batch_count(b, index, ARGV[3], false, 'queued')
batch_settle(b, now, true)
return wake
`);

/** @returns whether its host must be looked at; null if it is not made now */
export async function make(redis: Redis, keys: Keys, job: Job): Promise<{ wake: boolean } | null> {
  const { touched, said } = enqueued(keys, job);
  const batch = job.batch_id as string;
  const reply = await makeScript(
    redis,
    [...touched, ...courseKeys(keys, batch)],
    [...said, batch, job.batch_index as number],
  );
  return reply === -1 ? null : { wake: reply === 1 };
}
