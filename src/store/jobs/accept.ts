/**
 * Accepting a job: record, indexes, idempotency key and the place in its host's mailbox, in one script. After
 * it the job cannot be forgotten; a missing wake-up is only late, because the host is armed.
 */
import { createHash } from 'node:crypto';
import { type Job, type JobProgress, type JobRequest, NOT_STARTED } from '../../job/record.ts';
import type { Accepted } from '../jobs.ts';
import type { Keys } from '../keys.ts';
import type { Redis } from '../redis.ts';
import { defineScript } from '../script.ts';
import { encodeRequest } from './codec.ts';

/**
 * KEYS 1 job 2 request 3 its events 4 mailbox 5 armed 6-9 indexes (all, owner, host, state) 10 deadlines
 *      11 stream of events 12 idempotency key (or the job's own key where there is none)
 * ARGV 1 id 2 request 3 host 4 owner 5 not_before or 0 6 start deadline in ms 7 fingerprint or "" 8 channel
 * Returns {1, wake} when accepted; {0, id, fingerprint} when the idempotency key is taken.
 */
const acceptScript = defineScript(`
-- Its own first run, whose reply was lost with the connection: ids are new for every request.
if redis.call('EXISTS', KEYS[1]) == 1 then return {1, 1} end
if ARGV[7] ~= '' then
  local taken = redis.call('HMGET', KEYS[12], 'id', 'fingerprint')
  if taken[1] then return {0, taken[1], taken[2]} end
  redis.call('HSET', KEYS[12], 'id', ARGV[1], 'fingerprint', ARGV[7])
end
local now = clock()
local due = math.max(now, tonumber(ARGV[5]))
redis.call('SET', KEYS[2], ARGV[2])
redis.call('HSET', KEYS[1], 'state', 'queued', 'version', 1)
redis.call('RPUSH', KEYS[3], cjson.encode({1, 'queued', now, 'accepted'}))
for i = 6, 9 do redis.call('ZADD', KEYS[i], 0, ARGV[1]) end
redis.call('ZADD', KEYS[10], now + ARGV[6], ARGV[1])
redis.call('ZADD', KEYS[4], due, ARGV[1])
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

export type Acceptance = { wake: boolean } | { taken: { id: string; fingerprint: string } };

export async function accept(
  redis: Redis,
  keys: Keys,
  request: JobRequest,
  idempotency?: { key: string; fingerprint: string },
): Promise<Acceptance> {
  const { id, host, created_by: owner } = request;
  const claim = idempotency ? keys.idempotency(owner, digestOf(idempotency.key)) : keys.job(id);
  const reply = (await acceptScript(
    redis,
    [
      keys.job(id),
      keys.jobRequest(id),
      keys.jobEvents(id),
      keys.mailbox(host),
      keys.armed,
      keys.jobsAll,
      keys.jobsByOwner(owner),
      keys.jobsByHost(host),
      keys.jobsByState('queued'),
      keys.deadlines,
      keys.events,
      claim,
    ],
    [
      id,
      encodeRequest(idempotency ? { ...request, idempotency: digestOf(idempotency.key) } : request),
      host,
      owner,
      request.not_before ?? 0,
      request.start_deadline_seconds * 1000,
      idempotency?.fingerprint ?? '',
      keys.changes,
    ],
  )) as [1, number] | [0, string, string];
  return reply[0] === 1
    ? { wake: reply[1] === 1 }
    : { taken: { id: reply[1] as string, fingerprint: reply[2] as string } };
}

/** What was accepted under an idempotency key; null if nothing was. */
export async function findAccepted(
  redis: Redis,
  keys: Keys,
  owner: string,
  key: string,
): Promise<{ id: string; fingerprint: string } | null> {
  const { id, fingerprint } = await redis.hgetall(keys.idempotency(owner, digestOf(key)));
  return id !== undefined && fingerprint !== undefined ? { id, fingerprint } : null;
}

/** Callers choose the key's text, so only its digest becomes part of a name. */
function digestOf(key: string): string {
  return createHash('sha256').update(key).digest('base64url').slice(0, 27);
}

/** The parts of a job that are what was asked. */
export function requestOf(job: Job): JobRequest {
  const progress: Record<keyof JobProgress, unknown> = { ...NOT_STARTED, state: null, version: null };
  return Object.fromEntries(
    Object.entries(job).filter(([field]) => !(field in progress)),
  ) as unknown as JobRequest;
}

export function accepted(job: Job, acceptance: { wake: boolean }): Accepted {
  return { kind: 'accepted', job: { ...job, state: 'queued', version: 1 }, wake: acceptance.wake };
}
