/** Reading batches: the record, lists of them, and where their targets stand. */
import type { Batch, BatchState } from '../../job/batch.ts';
import { hasLabels } from '../../job/labels.ts';
import type { Keys } from '../keys.ts';
import { type Hash, results } from '../redis/replies.ts';
import type { Redis } from '../redis.ts';
import { decodeBatch } from './codec.ts';
import { type Standing, standings } from './marks.ts';

export async function getMany(redis: Redis, keys: Keys, ids: string[]): Promise<(Batch | null)[]> {
  if (ids.length === 0) return [];
  const pipeline = redis.pipeline();
  for (const id of ids) pipeline.get(keys.batchRequest(id)).hgetall(keys.batch(id));
  const replies = await results(pipeline);
  return ids.map((_, i) => {
    const request = replies[2 * i] as string | null;
    const hash = replies[2 * i + 1] as Hash;
    return request === null || hash.state === undefined ? null : decodeBatch(request, hash);
  });
}

/** Where each of its targets stands, in their order. */
export async function standingsOf(
  redis: Redis,
  keys: Keys,
  { id, total }: Pick<Batch, 'id' | 'total'>,
): Promise<Standing[]> {
  return standings((await redis.get(keys.batchMarks(id))) ?? '', total);
}

export interface BatchFilter {
  /** Only those in one of these. */
  state?: readonly BatchState[];
  label?: Record<string, string>;
  /** Only those of this key; missing: of all. */
  owner?: string;
}

export interface BatchPage {
  batches: Batch[];
  /** The id to go on after; null at the end. */
  after: string | null;
}

const STEP = 100;
/** Records looked at for one page. */
const WALK = 2_000;

/** Newest first; a list that matches little stops after a bounded walk and says where to go on. */
export async function list(
  redis: Redis,
  keys: Keys,
  { state, label = {}, owner }: BatchFilter,
  page: { size: number; after?: string },
): Promise<BatchPage> {
  const index = owner === undefined ? keys.batchesAll : keys.batchesByOwner(owner);
  const batches: Batch[] = [];
  let after = page.after;
  for (let walked = 0; walked < WALK; walked += STEP) {
    const from = after === undefined ? '+' : `(${after}`;
    const ids = await redis.zrevrangebylex(index, from, '-', 'LIMIT', 0, STEP);
    for (const [i, batch] of (await getMany(redis, keys, ids)).entries()) {
      after = ids[i] as string;
      if (batch && (state?.includes(batch.state) ?? true) && hasLabels(batch.job.labels, label))
        batches.push(batch);
      if (batches.length === page.size) return { batches, after };
    }
    if (ids.length < STEP) return { batches, after: null };
  }
  return { batches, after: after ?? null };
}
