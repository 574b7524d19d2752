/**
 * Accepting a job: record, indexes, idempotency key and the place in its host's mailbox, in one script. After
 * it the job cannot be forgotten; a missing wake-up is only late, because the host is armed.
 */
import { type Job, type JobProgress, type JobRequest, NOT_STARTED } from '../../job/record.ts';
import { channelOf } from '../feed.ts';
import type { Keys } from '../keys.ts';
import { placeOf } from '../places.ts';
import type { Redis } from '../redis.ts';
import { defineScript } from '../script.ts';
import { encodeRequest } from './codec.ts';
import { EVENT_LUA } from './events.ts';
import { CLAIMED_LUA, claimOf, digestOf, type Idempotency, type Taken, takenBy } from './idempotency.ts';

/**
 * KEYS 1 job 2 request 3 idempotency key (or the job's own key where there is none) 4 mailbox 5 armed
 *      6-9 indexes (all, owner, host, state) 10 deadlines 11 stream of events 12 the host's configuration
 * ARGV 1 id 2 request 3 host 4 owner 5 not_before or 0 6 start deadline in ms 7 what claims the key or "" 8 channel
 *      9 place 10 the print of the host's configuration as the caller saw it, or ""
 * Returns {-1} where it is another; {1, wake} when accepted; {0, its text} when the idempotency key is taken.
 */
const acceptScript = defineScript(`${CLAIMED_LUA}${EVENT_LUA}
-- Its own first run, whose reply was lost with the connection: ids are new for every request.
if redis.call('EXISTS', KEYS[1]) == 1 then return {1, 1} end
local taken = ARGV[7] ~= '' and claimed(KEYS[3])
if taken then return {0, taken} end
-- Changed since the caller looked, who may have been refused, or removed: its mailbox would be nobody's.
if ARGV[10] ~= '' and redis.sha1hex(redis.call('GET', KEYS[12]) or '') ~= ARGV[10] then return {-1} end
if ARGV[7] ~= '' then
  redis.call('SET', KEYS[3], ARGV[7])
end
local now = clock()
local due = math.max(now, tonumber(ARGV[5]))
redis.call('SET', KEYS[2], ARGV[2])
redis.call('HSET', KEYS[1], 'state', 'queued', 'version', 1, 1, event_text('queued', now, 'accepted'))
for i = 6, 9 do redis.call('ZADD', KEYS[i], 0, ARGV[1]) end
redis.call('ZADD', KEYS[10], now + ARGV[6], ARGV[1])
redis.call('ZADD', KEYS[4], due, ARGV[9])
local armed = tonumber(redis.call('ZSCORE', KEYS[5], ARGV[3]) or 'inf')
local wake = 0
if due < armed then
  redis.call('ZADD', KEYS[5], due, ARGV[3])
  wake = 1
end
redis.call('XADD', KEYS[11], 'MAXLEN', '~', 100000, '*', 'id', ARGV[1], 'version', 1, 'state', 'queued',
  'host', ARGV[3], 'owner', ARGV[4], 'type', 'job.queued')
redis.call('PUBLISH', ARGV[8], cjson.encode({ARGV[1], 1, 'queued', ARGV[3], ARGV[4], 'job.queued'}))
return {1, wake}
`);

export type Acceptance = { job: Job; wake: boolean } | { taken: Taken } | 'host_changed';

export async function accept(
  redis: Redis,
  keys: Keys,
  job: Job,
  idempotency?: Idempotency,
  { hostPrint = null }: { hostPrint?: string | null } = {},
): Promise<Acceptance> {
  const { id, host, created_by: owner } = job;
  const request = { ...requestOf(job), ...(idempotency && { idempotency: digestOf(idempotency.key) }) };
  const claim = idempotency ? keys.idempotency(owner, digestOf(idempotency.key)) : keys.job(id);
  const reply = (await acceptScript(
    redis,
    [
      keys.job(id),
      keys.jobRequest(id),
      claim,
      keys.mailbox(host),
      keys.armed,
      keys.jobsAll,
      keys.jobsByOwner(owner),
      keys.jobsByHost(host),
      keys.jobsByState('queued'),
      keys.deadlines,
      keys.events,
      keys.host(host),
    ],
    [
      id,
      encodeRequest(request),
      host,
      owner,
      request.not_before ?? 0,
      request.start_deadline_seconds * 1000,
      idempotency ? claimOf(id, idempotency.fingerprint) : '',
      channelOf(keys, 'queued'),
      placeOf(request),
      hostPrint ?? '',
    ],
  )) as [1, number] | [0, string] | [-1];
  if (reply[0] === -1) return 'host_changed';
  return reply[0] === 1
    ? { job: { ...job, ...request, state: 'queued', version: 1 }, wake: reply[1] === 1 }
    : { taken: takenBy(reply[1], idempotency?.fingerprint ?? '') };
}

const PROGRESS: Record<keyof JobProgress, unknown> = { ...NOT_STARTED, state: null, version: null };

/** The parts of a job that are what was asked. */
export function requestOf(job: Job): JobRequest {
  const request: Record<string, unknown> = {};
  for (const [field, value] of Object.entries(job)) if (!(field in PROGRESS)) request[field] = value;
  return request as unknown as JobRequest;
}
