/** Writing what is no change of state: no new version, no event, nobody is told. */
import { type Job, type JobProgress, launchToken } from '../../job/record.ts';
import type { Keys } from '../keys.ts';
import { defineScript } from '../redis/script.ts';
import type { Redis } from '../redis.ts';
import { encodeProgress } from './codec.ts';

/**
 * KEYS 1 job
 * ARGV 1 the version that the caller has seen 2 how many arguments to set 3.. names and values, then names to delete
 * Returns 1 if written.
 */
const noteScript = defineScript(`
if redis.call('HGET', KEYS[1], 'version') ~= ARGV[1] then return 0 end
local last = 2 + ARGV[2]
if last > 2 then redis.call('HSET', KEYS[1], unpack(ARGV, 3, last)) end
if #ARGV > last then redis.call('HDEL', KEYS[1], unpack(ARGV, last + 1)) end
return 1
`);

export async function note(
  redis: Redis,
  keys: Keys,
  job: Job,
  progress: Partial<JobProgress>,
): Promise<boolean> {
  const { set, del } = encodeProgress(progress, launchToken(job));
  return (await noteScript(redis, [keys.job(job.id)], [job.version, set.length, ...set, ...del])) === 1;
}

/** How much a job has written so far; null where its host does not say. */
export type Growth = Pick<Job, 'id' | 'version' | 'stdout_bytes' | 'stderr_bytes'>;

/**
 * KEYS jobs
 * ARGV for each job: the version that the caller has seen, bytes of stdout, of stderr ("" for not said)
 */
const noteGrowthScript = defineScript(`
for i = 1, #KEYS do
  if redis.call('HGET', KEYS[i], 'version') == ARGV[3 * i - 2] then
    if ARGV[3 * i - 1] ~= '' then redis.call('HSET', KEYS[i], 'stdout_bytes', ARGV[3 * i - 1]) end
    if ARGV[3 * i] ~= '' then redis.call('HSET', KEYS[i], 'stderr_bytes', ARGV[3 * i]) end
  end
end
`);

export async function noteGrowth(redis: Redis, keys: Keys, grown: Growth[]): Promise<void> {
  if (grown.length === 0) return;
  await noteGrowthScript(
    redis,
    grown.map(({ id }) => keys.job(id)),
    grown.flatMap(({ version, stdout_bytes, stderr_bytes }) => [
      version,
      stdout_bytes ?? '',
      stderr_bytes ?? '',
    ]),
  );
}
