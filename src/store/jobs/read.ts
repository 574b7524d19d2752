/** Reading jobs: the record, and what is kept beside it. */
import type { SyncOutput } from '../../job/move.ts';
import type { Job, Tails } from '../../job/record.ts';
import { isOver, type State } from '../../job/states.ts';
import type { Keys } from '../keys.ts';
import { type Hash, results } from '../redis/replies.ts';
import { defineScript } from '../redis/script.ts';
import type { Redis } from '../redis.ts';
import { decodeJob, decodeRecord, type RawRecord } from './codec.ts';

/** KEYS 1 request 2 job. A script costs the client a third of a pipeline, where there is one job only. */
const readScript = defineScript(`
return {redis.call('GET', KEYS[1]), redis.call('HGETALL', KEYS[2])}
`);

export async function getMany(redis: Redis, keys: Keys, ids: string[]): Promise<(Job | null)[]> {
  if (ids.length === 0) return [];
  if (ids.length === 1) return [await read(redis, keys, ids[0] as string)];
  const pipeline = redis.pipeline();
  for (const id of ids) pipeline.get(keys.jobRequest(id)).hgetall(keys.job(id));
  const replies = await results(pipeline);
  return ids.map((id, i) => {
    const request = replies[2 * i] as string | null;
    const hash = replies[2 * i + 1] as Hash;
    return request === null || hash.state === undefined ? null : decodeJob(id, request, hash);
  });
}

async function read(redis: Redis, keys: Keys, id: string): Promise<Job | null> {
  return decodeRecord(id, (await readScript(redis, [keys.jobRequest(id), keys.job(id)], [])) as RawRecord);
}

/** The job, with the time of its next question. */
export async function getOne(redis: Redis, keys: Keys, id: string): Promise<Job | null> {
  const job = await read(redis, keys, id);
  if (!job || (isOver(job.state) && job.state !== 'lost')) return job;
  const next = await redis.zscore(keys.followed(job.host), id);
  return { ...job, next_poll_at: next === null ? null : Math.round(Number(next)) };
}

/** @param attempt null: the last one's */
export async function tails(
  redis: Redis,
  keys: Keys,
  id: string,
  attempt: number | null,
): Promise<Tails | null> {
  const prefix = attempt === null ? '' : `${attempt}:`;
  const kept = await redis.hmgetBuffer(keys.jobTails(id), `${prefix}stdout`, `${prefix}stderr`);
  const [stdout, stderr] = kept;
  return stdout && stderr ? { stdout, stderr } : null;
}

/** What the fields of the present attempt's tails begin with: nothing with the job's end, else the attempt. */
export function tailsPrefix(job: Job, to: State): string {
  return isOver(to) ? '' : `${job.attempt}:`;
}

export async function output(redis: Redis, keys: Keys, id: string): Promise<SyncOutput | null> {
  const kept = await redis.hgetallBuffer(keys.jobOutput(id));
  if (!kept.stdout || !kept.stderr) return null;
  return { stdout: kept.stdout, stderr: kept.stderr, truncated: kept.truncated?.toString() === '1' };
}
