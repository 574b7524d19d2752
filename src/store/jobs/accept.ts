/**
 * Accepting a job: record, indexes, idempotency key and the place in its host's mailbox, in one script. After
 * it the job cannot be forgotten; a missing wake-up is only late, because the host is armed.
 */
import { isProvenOver } from '../../job/proven-over.ts';
import type { Job, OnDuplicate } from '../../job/record.ts';
import { isOver } from '../../job/states.ts';
import type { Keys } from '../keys.ts';
import { HELD_AT } from '../mailbox/places.ts';
import { defineScript } from '../redis/script.ts';
import type { Redis } from '../redis.ts';
import { ENQUEUE_LUA, enqueued } from './enqueue.ts';
import {
  attachedClaimOf,
  CLAIMED_LUA,
  claimOf,
  digestOf,
  type Idempotency,
  type Taken,
  takenBy,
} from './idempotency.ts';
import { lastIn, leaveLine, lineOf } from './line.ts';
import { getOne } from './read.ts';

/**
 * KEYS 1 job 2 request 3 idempotency key (or the job's own key where there is none) 4 mailbox 5 armed
 *      6-9 indexes (all, owner, host, state) 10 deadlines 11 stream of events 12 the host's configuration
 *      of jobs with a unique key only: 13 its line 14 the succession 15 what requests the last in the line was attached to
 * ARGV 1 id 2 request 3 host 4 owner 5 not_before or 0 6 start deadline in ms 7 what claims the key or "" 8 channel
 *      9 place 10 the print of the host's configuration as the caller saw it, or ""
 *      of jobs with a unique key only: 11 on_duplicate 12 who was last in the line, or "" 13 what claims the key for it
 *      14 the digest of the key
 * Returns {-1} where it is another, {-2} where another one is last in the line; {1, wake} when accepted; {0, its text} when
 * the idempotency key is taken; {2} when the unique key is.
 */
const acceptScript = defineScript(`${CLAIMED_LUA}${ENQUEUE_LUA}
-- Its own first run, whose reply was lost with the connection: ids are new for every request.
if redis.call('EXISTS', KEYS[1]) == 1 then return {1, 1} end
local taken = ARGV[7] ~= '' and claimed(KEYS[3])
if taken then return {0, taken} end
-- Changed since the caller looked, who may have been refused, or removed: its mailbox would be nobody's.
if ARGV[10] ~= '' and redis.sha1hex(redis.call('GET', KEYS[12]) or '') ~= ARGV[10] then return {-1} end
local now = clock()
local due = math.max(now, tonumber(ARGV[5]))
local why = 'accepted'
if KEYS[13] then
  local seen = redis.call('HMGET', KEYS[13], 'holder', 'next')
  local before = seen[2] or seen[1]
  if (before or '') ~= ARGV[12] then return {-2} end
  if before and ARGV[11] ~= 'replace' then
    if ARGV[11] == 'attach' and ARGV[7] ~= '' then
      redis.call('SET', KEYS[3], ARGV[13])
      redis.call('SADD', KEYS[15], ARGV[14])
    end
    return {2}
  end
  redis.call('HSET', KEYS[13], before and 'next' or 'holder', ARGV[1])
  if before then
    -- Both are looked at from here on: this one until it may start, and one that came next before it, to be canceled.
    due, why = ${HELD_AT}, 'replaces ' .. before
    redis.call('ZADD', KEYS[14], now, ARGV[1], now, before)
  end
end
if ARGV[7] ~= '' then
  redis.call('SET', KEYS[3], ARGV[7])
end
local wake = enqueue(now, due, why)
return {1, wake}
`);

export type Acceptance =
  | { job: Job; wake: boolean /** The job in place of which it was accepted. */; replaces: string | null }
  | { taken: Taken }
  /** The last one in the line of its unique key. */
  | { duplicateOf: string }
  | 'host_changed';

export interface AcceptOptions {
  /** See `JobStore.accept`. */
  hostPrint?: string | null;
  onDuplicate?: OnDuplicate;
}

export async function accept(
  redis: Redis,
  keys: Keys,
  job: Job,
  idempotency?: Idempotency,
  { hostPrint = null, onDuplicate = 'attach' }: AcceptOptions = {},
): Promise<Acceptance> {
  const { id, created_by: owner } = job;
  const digest = idempotency ? digestOf(idempotency.key) : '';
  const print = idempotency?.fingerprint ?? '';
  const kept = { ...job, ...(idempotency && { idempotency: digest }) };
  const line = lineOf(keys, job);
  const { touched, said } = enqueued(keys, kept);
  if (idempotency) {
    touched[2] = keys.idempotency(owner, digest);
    said[6] = claimOf(id, print);
  }
  said[9] = hostPrint ?? '';
  for (;;) {
    const before = line === null ? null : await lastIn(redis, line);
    if (
      line !== null &&
      before !== null &&
      onDuplicate !== 'replace' &&
      (await isDone(redis, keys, before))
    ) {
      await leaveLine(redis, keys, line, before);
      continue;
    }
    if (line !== null) {
      // The names of keys are told beforehand: where another job came into the line meanwhile, they are told anew.
      touched.splice(12, 3, line, keys.succession, keys.jobAttached(before ?? id));
      said.splice(10, 4, onDuplicate, before ?? '', before ? attachedClaimOf(before, print) : '', digest);
    }
    const reply = (await acceptScript(redis, touched, said)) as [1, number] | [0, string] | [-1] | [-2] | [2];
    switch (reply[0]) {
      case 1:
        return {
          job: { ...kept, state: 'queued', version: 1 },
          wake: reply[1] === 1,
          replaces: before,
        };
      case 0:
        return { taken: takenBy(reply[1], print) };
      case 2:
        return { duplicateOf: before as string };
      case -1:
        return 'host_changed';
    }
  }
}

/**
 * Whether the last one in a line is nothing to attach to, and no reason to refuse: only who replaces a job waits until it
 * is proven that nothing of it is at work. One without a record was left there by a process that died, or an older one.
 */
async function isDone(redis: Redis, keys: Keys, id: string): Promise<boolean> {
  const job = await getOne(redis, keys, id);
  if (!job) return true;
  return job.state === 'lost' ? isProvenOver(job) : isOver(job.state);
}
