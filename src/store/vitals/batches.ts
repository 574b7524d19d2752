/** What the survey tells of the batches that are not over: a few fields of each, a page in a round trip. */
import { isOver, STATES } from '../../job/states.ts';
import type { Keys } from '../keys.ts';
import { clock, results } from '../redis/replies.ts';
import type { Redis } from '../redis.ts';

const OPEN_STATES = ['running', 'paused', 'stopping', 'canceling'] as const;

export interface BatchSurvey {
  /** Batches that are not over, by state. */
  open: Record<(typeof OPEN_STATES)[number], number>;
  /** Their hosts: those whose turn has not come, and those with a job that is not over. */
  hosts: Record<'unstarted' | 'under_way', number>;
  /** For how long the one that was paused first has been. */
  pausedMs: number;
}

/** Read in one round trip. */
const PAGE = 500;

export async function surveyBatches(redis: Redis, keys: Keys): Promise<BatchSurvey> {
  const found: BatchSurvey = {
    open: { running: 0, paused: 0, stopping: 0, canceling: 0 },
    hosts: { unstarted: 0, under_way: 0 },
    pausedMs: 0,
  };
  const [ids, now] = [await redis.zrange(keys.batchesOpen, '0', '-1'), await clock(redis)];
  for (let from = 0; from < ids.length; from += PAGE) {
    const pipeline = redis.pipeline();
    for (const id of ids.slice(from, from + PAGE)) {
      pipeline.hmget(keys.batch(id), 'state', 'total', 'state_at', ...STATES.map((state) => `n:${state}`));
    }
    for (const texts of (await results(pipeline)) as (string | null)[][]) add(found, texts, now);
  }
  return found;
}

function add(
  found: BatchSurvey,
  [state, total, since, ...counts]: (string | null | undefined)[],
  now: number,
): void {
  const open = OPEN_STATES.find((one) => one === state);
  // Over, or gone, since its id was read.
  if (!open) return;
  let withJob = 0;
  for (const [i, one] of STATES.entries()) {
    const count = Number(counts[i] ?? 0);
    withJob += count;
    if (!isOver(one)) found.hosts.under_way += count;
  }
  found.hosts.unstarted += Number(total) - withJob;
  found.open[open]++;
  if (open === 'paused') found.pausedMs = Math.max(found.pausedMs, now - Number(since ?? now));
}
