/**
 * A new job's record and places, as every script writes them that makes one: record, indexes, deadline, its place in
 * its host's mailbox, and the armed host, announced together.
 */
import type { Job } from '../../job/record.ts';
import { ANNOUNCE_LUA, channelOf } from '../feed.ts';
import type { Keys } from '../keys.ts';
import { HELD_AT, placeOf } from '../mailbox/places.ts';
import { encodeRequest } from './codec.ts';
import { EVENT_LUA } from './events.ts';

/**
 * Lua, for scripts whose first KEYS and ARGV are those of `enqueued`: `enqueue(now, due, why)` writes the job, and
 * returns 1 if nobody has been told to look at its host by `due`.
 */
export const ENQUEUE_LUA = `${EVENT_LUA}${ANNOUNCE_LUA}
local function enqueue(now, due, why)
  redis.call('SET', KEYS[2], ARGV[2])
  redis.call('HSET', KEYS[1], 'state', 'queued', 'version', 1, 1, event_text('queued', now, why))
  for i = 6, 9 do redis.call('ZADD', KEYS[i], 0, ARGV[1]) end
  redis.call('ZADD', KEYS[10], now + ARGV[6], ARGV[1])
  redis.call('ZADD', KEYS[4], due, ARGV[9])
  local armed = tonumber(redis.call('ZSCORE', KEYS[5], ARGV[3]) or 'inf')
  local wake = 0
  if due < armed and due < ${HELD_AT} then
    redis.call('ZADD', KEYS[5], due, ARGV[3])
    wake = 1
  end
  announce(KEYS[11], ARGV[8], ARGV[1], 1, 'queued', ARGV[3], ARGV[4], 'job.queued')
  return wake
end
`;

/**
 * KEYS 1 job 2 request 3 the job again (an idempotency key in its place: `accept.ts`) 4 mailbox 5 armed
 *      6-9 indexes (all, owner, host, state) 10 deadlines 11 stream of events 12 the host's configuration
 * ARGV 1 id 2 request 3 host 4 owner 5 not_before or 0 6 start deadline in ms 7 "" (what claims the idempotency key)
 *      8 channel 9 place 10 "" (the print of the host's configuration)
 */
export function enqueued(keys: Keys, job: Job): { touched: string[]; said: (string | number)[] } {
  const { id, host, created_by: owner } = job;
  return {
    touched: [
      keys.job(id),
      keys.jobRequest(id),
      keys.job(id),
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
    said: [
      id,
      encodeRequest(job),
      host,
      owner,
      job.not_before ?? 0,
      job.start_deadline_seconds * 1000,
      '',
      channelOf(keys, 'queued'),
      placeOf(job),
      '',
    ],
  };
}
