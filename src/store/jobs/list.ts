/**
 * Lists of jobs, newest first: one index is walked by id, everything it does not answer is looked up in the
 * records. A list that matches little stops after a bounded walk and says where to go on.
 */
import { encodeTime } from 'ulid';
import { hasLabels } from '../../job/labels.ts';
import type { Job } from '../../job/record.ts';
import type { State } from '../../job/states.ts';
import type { Keys } from '../keys.ts';
import type { Redis } from '../redis.ts';
import { getMany } from './read.ts';

export interface JobFilter {
  state?: State[];
  /** A host's name. */
  host?: string;
  label?: Record<string, string>;
  created_after?: number;
  created_before?: number;
  /** Only jobs of this key; missing: of all. */
  owner?: string;
}

export interface JobPage {
  jobs: Job[];
  /** The id to go on after; null at the end. */
  after: string | null;
}

const STEP = 200;
/** Records looked at for one page. */
const WALK = 5_000;

export async function list(
  redis: Redis,
  keys: Keys,
  filter: JobFilter,
  page: { size: number; after?: string },
): Promise<JobPage> {
  const index = narrowestIndex(keys, filter);
  const oldest = filter.created_after === undefined ? '-' : `[${firstIdOf(filter.created_after + 1)}`;
  const newest = filter.created_before === undefined ? '+' : `(${firstIdOf(filter.created_before)}`;
  const jobs: Job[] = [];
  let after = page.after;
  for (let walked = 0; walked < WALK; walked += STEP) {
    const from = after === undefined ? newest : `(${after}`;
    const ids = await redis.zrevrangebylex(index, from, oldest, 'LIMIT', 0, STEP);
    for (const [i, job] of (await getMany(redis, keys, ids)).entries()) {
      after = ids[i] as string;
      if (job && matches(job, filter)) jobs.push(job);
      if (jobs.length === page.size) return { jobs, after };
    }
    if (ids.length < STEP) return { jobs, after: null };
  }
  return { jobs, after: after ?? null };
}

function narrowestIndex(keys: Keys, filter: JobFilter): string {
  if (filter.host !== undefined) return keys.jobsByHost(filter.host);
  if (filter.state?.length === 1) return keys.jobsByState(filter.state[0] as string);
  return filter.owner === undefined ? keys.jobsAll : keys.jobsByOwner(filter.owner);
}

function matches(job: Job, filter: JobFilter): boolean {
  if (filter.owner !== undefined && job.created_by !== filter.owner) return false;
  if (filter.host !== undefined && job.host !== filter.host) return false;
  if (filter.state && !filter.state.includes(job.state)) return false;
  return hasLabels(job.labels, filter.label ?? {});
}

/** The smallest id that a job accepted at this millisecond can have. */
function firstIdOf(ms: number): string {
  return `job_${encodeTime(Math.max(0, ms), 10)}`;
}
