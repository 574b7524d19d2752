/** Reading jobs: the record, and what is kept beside it. */
import type { Job, Tails } from '../../job/record.ts';
import { isOver } from '../../job/states.ts';
import type { SyncOutput } from '../jobs.ts';
import type { Keys } from '../keys.ts';
import type { Redis } from '../redis.ts';
import { type Hash, results } from '../replies.ts';
import { decodeJob } from './codec.ts';

export async function getMany(redis: Redis, keys: Keys, ids: string[]): Promise<(Job | null)[]> {
  if (ids.length === 0) return [];
  const pipeline = redis.pipeline();
  for (const id of ids) pipeline.get(keys.jobRequest(id)).hgetall(keys.job(id));
  const replies = await results(pipeline);
  return ids.map((id, i) => {
    const request = replies[2 * i] as string | null;
    const hash = replies[2 * i + 1] as Hash;
    return request === null || hash.state === undefined ? null : decodeJob(id, request, hash);
  });
}

/** The job, with the time of its next question. */
export async function getOne(redis: Redis, keys: Keys, id: string): Promise<Job | null> {
  const [job] = await getMany(redis, keys, [id]);
  if (!job || (isOver(job.state) && job.state !== 'lost')) return job ?? null;
  const next = await redis.zscore(keys.followed(job.host), id);
  return { ...job, next_poll_at: next === null ? null : Math.round(Number(next)) };
}

export async function tails(redis: Redis, keys: Keys, id: string): Promise<Tails | null> {
  const kept = await redis.hgetallBuffer(keys.jobTails(id));
  return kept.stdout && kept.stderr ? { stdout: kept.stdout, stderr: kept.stderr } : null;
}

export async function output(redis: Redis, keys: Keys, id: string): Promise<SyncOutput | null> {
  const kept = await redis.hgetallBuffer(keys.jobOutput(id));
  if (!kept.stdout || !kept.stderr) return null;
  return { stdout: kept.stdout, stderr: kept.stderr, truncated: kept.truncated?.toString() === '1' };
}
