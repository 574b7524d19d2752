/**
 * Adopting a job that somebody else started on a host: its record, its indexes and its place in the host's followed
 * set, in one script. It was never in a mailbox and is never started by us; from here on it is followed like any other.
 *
 * Who adopted what is kept as an idempotency key is, under a text that no caller can send: it goes with the record.
 */
import type { Job } from '../../job/record.ts';
import { ANNOUNCE_LUA, channelOf } from '../feed.ts';
import type { Keys } from '../keys.ts';
import { defineScript } from '../redis/script.ts';
import type { Redis } from '../redis.ts';
import { encodeProgress, encodeRequest } from './codec.ts';
import { EVENT_LUA } from './events.ts';
import { CLAIMED_LUA, claimOf, digestOf, type Idempotency, type Taken, takenBy } from './idempotency.ts';

/** A job whose host says that it runs, or does not answer. */
export type AdoptedJob = Job & { state: 'running' | 'unreachable'; agent_job_id: string };

/**
 * KEYS 1 job 2 request 3 what claims the pair 4 followed 5 hosts with followed jobs 6 active jobs of the host
 *      7-10 indexes (all, owner, host, state) 11 stream of events 12 the host's configuration
 * ARGV 1 id 2 request 3 host 4 owner 5 the claim 6 channel 7 the print of the host's configuration as the caller saw
 *      it, or "" 8 state 9 why 10.. fields and values
 * Returns {-1} where the host is another; {1} when adopted; {0, its text} when the pair is.
 */
const adoptScript = defineScript(`${CLAIMED_LUA}${EVENT_LUA}${ANNOUNCE_LUA}
-- Its own first run, whose reply was lost with the connection.
if redis.call('EXISTS', KEYS[1]) == 1 then return {1} end
local taken = claimed(KEYS[3])
if taken then return {0, taken} end
if ARGV[7] ~= '' and redis.sha1hex(redis.call('GET', KEYS[12]) or '') ~= ARGV[7] then return {-1} end
local now = clock()
redis.call('SET', KEYS[3], ARGV[5])
redis.call('SET', KEYS[2], ARGV[2])
redis.call('HSET', KEYS[1], 'state', ARGV[8], 'version', 1, 1, event_text(ARGV[8], now, ARGV[9]), unpack(ARGV, 10))
for i = 7, 10 do redis.call('ZADD', KEYS[i], 0, ARGV[1]) end
redis.call('ZADD', KEYS[6], 0, ARGV[1])
redis.call('ZADD', KEYS[4], now, ARGV[1])
redis.call('ZADD', KEYS[5], 'NX', now, ARGV[3])
local type = 'job.' .. ARGV[8]
announce(KEYS[11], ARGV[6], ARGV[1], 1, ARGV[8], ARGV[3], ARGV[4], type)
return {1}
`);

/** For one pair of host and agent's id, of one caller. */
export function adoptionOf(host: string, agentJobId: string): Idempotency {
  return { key: `adopt\0${host}\0${agentJobId}`, fingerprint: 'adopted' };
}

export async function adopt(
  redis: Redis,
  keys: Keys,
  job: AdoptedJob,
  hostPrint: string | null,
): Promise<{ job: Job } | { taken: Taken } | 'host_changed'> {
  const { id, host, state, created_by: owner, attempt, started_by, agent_job_id, unreachable_since } = job;
  const adoption = adoptionOf(host, agent_job_id);
  const digest = digestOf(adoption.key);
  const kept = { ...job, idempotency: digest };
  // No token of ours: its id is written out.
  const { set } = encodeProgress({ attempt, started_by, agent_job_id, unreachable_since }, '');
  const reply = (await adoptScript(
    redis,
    [
      keys.job(id),
      keys.jobRequest(id),
      keys.idempotency(owner, digest),
      keys.followed(host),
      keys.hostsFollowed,
      keys.activeJobs(host),
      keys.jobsAll,
      keys.jobsByOwner(owner),
      keys.jobsByHost(host),
      keys.jobsByState(state),
      keys.events,
      keys.host(host),
    ],
    [
      id,
      encodeRequest(kept),
      host,
      owner,
      claimOf(id, adoption.fingerprint),
      channelOf(keys, state),
      hostPrint ?? '',
      state,
      'adopted',
      ...set,
    ],
  )) as [1] | [0, string] | [-1];
  if (reply[0] === -1) return 'host_changed';
  return reply[0] === 1 ? { job: kept } : { taken: takenBy(reply[1], adoption.fingerprint) };
}
