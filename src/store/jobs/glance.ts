/**
 * A glance at many jobs, for whoever asks their host: of those that a Full agent started and that run, the few fields
 * that a question and an unchanged answer need; of the others, that they are there. One script for all, because a
 * hundred thousand running jobs are looked at every half minute, and nearly all of them have not changed.
 */
import type { FullJob } from '../../job/agent-port.ts';
import type { Job } from '../../job/record.ts';
import type { Keys } from '../keys.ts';
import { defineScript } from '../redis/script.ts';
import type { Redis } from '../redis.ts';
import { OWN_TOKEN, USUAL } from './codec.ts';

export interface Glance {
  running: RunningJob[];
  /** Everybody else: to be read whole. */
  others: string[];
  /** Those without a record. */
  gone: string[];
}

/** A job that a Full agent started and that runs. Its `agent_job_id` is null where it is the launch token. */
export type RunningJob = FullJob &
  Pick<Job, 'version' | 'dispatched_at' | 'poll_interval' | 'stdout_bytes' | 'stderr_bytes'>;

/** Jobs in one script: some 0.2 ms in which Redis does nothing else. */
const BATCH = 200;

/** KEYS jobs. Returns for each the fields that follow `started_by`, 1 for "read it whole", or 0 for "no record". */
const glanceScript = defineScript(`
local found = {}
for i = 1, #KEYS do
  local job = redis.call('HMGET', KEYS[i], 'state', 'started_by', 'version', 'attempt', 'agent_job_id', 'store_id',
    'dispatched_at', 'stdout_bytes', 'stderr_bytes', 'poll_interval')
  if job[1] == 'running' and job[2] == 'full' then
    found[i] = {unpack(job, 3)}
  else
    found[i] = job[1] and 1 or 0
  end
end
return found
`);

type Found = [version: string, attempt: string, ...(string | null)[]];

export async function glance(redis: Redis, keys: Keys, ids: string[]): Promise<Glance> {
  const seen: Glance = { running: [], others: [], gone: [] };
  for (let from = 0; from < ids.length; from += BATCH) {
    const some = ids.slice(from, from + BATCH);
    const names = some.map((id) => keys.job(id));
    const found = (await glanceScript(redis, names, [])) as (Found | 0 | 1)[];
    for (const [i, id] of some.entries()) {
      const fields = found[i];
      if (typeof fields === 'object') seen.running.push(decode(id, fields, seen.running.at(-1)));
      else (fields === 1 ? seen.others : seen.gone).push(id);
    }
  }
  return seen;
}

/** What a followed job's hash holds of its request, so that a glance needs nothing else. */
export function glancedAt({ poll_interval }: Pick<Job, 'poll_interval'>): string[] {
  return poll_interval === USUAL.poll_interval ? [] : ['poll_interval', String(poll_interval)];
}

function decode(id: string, fields: Found, before: RunningJob | undefined): RunningJob {
  const [version, attempt, agentJobId, storeId, dispatchedAt, stdout, stderr, interval] = fields;
  return {
    id,
    started_by: 'full',
    version: Number(version),
    attempt: Number(attempt),
    agent_job_id: agentJobId === OWN_TOKEN ? null : (agentJobId ?? null),
    // One text for all: held questions keep these objects for as long as nothing happens.
    store_id: before && before.store_id === storeId ? before.store_id : (storeId ?? null),
    dispatched_at: numberIn(dispatchedAt),
    poll_interval: numberIn(interval) ?? USUAL.poll_interval,
    stdout_bytes: numberIn(stdout),
    stderr_bytes: numberIn(stderr),
  };
}

function numberIn(text: string | null | undefined): number | null {
  return text == null ? null : Number(text);
}
