/**
 * A batch in place of another: it begins once nothing of that one is at work, which means over, and each of its jobs proven
 * over. Where that never comes it waits as a single job does, until the records of those jobs are removed; `explain` says so.
 */
import { type Batch, isBatchOver } from '../../job/batch.ts';
import { isProvenOver } from '../../job/proven-over.ts';
import { batchJobId } from '../../store/batches/job-id.ts';
import type { BatchStore, Standing } from '../../store/batches.ts';
import type { JobStore } from '../../store/jobs.ts';
import type { Wake } from '../../store/queues.ts';

/** Jobs read at once. */
const PAGE = 200;
/** Ends of which the record says whether they are proven. */
const IN_DOUBT = new Set<Standing>(['canceled', 'timed_out', 'lost']);
/** Without a start, or stopped before it. */
const NOTHING_STARTED = new Set<Standing>(['unstarted', 'withdrawn']);

/** @returns 1 if it may begin from now on, else 0 */
export type SucceedBatch = (batch: Batch, before: string) => Promise<number>;

export function createSucceedBatch(deps: {
  batches: Pick<BatchStore, 'get' | 'order' | 'standings' | 'targets'>;
  jobs: Pick<JobStore, 'getMany'>;
  wake: Pick<Wake, 'batch'>;
}): SucceedBatch {
  const { batches, jobs, wake } = deps;

  return async (batch, before) => {
    if (!(await isOutOfTheWay(batch, before))) return 0;
    return (await batches.order(batch.id, { kind: 'begin' })) === 'done' ? 1 : 0;
  };

  async function isOutOfTheWay(batch: Batch, id: string): Promise<boolean> {
    const before = await batches.get(id);
    if (!before) return true;
    if (!isBatchOver(before.state)) {
      const reason = `replaced by ${batch.id}`;
      const ordered = await batches.order(id, { kind: 'cancel', by: batch.created_by, reason });
      if (ordered === 'done') await wake.batch(id);
      return false;
    }
    // Replaced before it began: what it waited for may be at work still.
    if (before.made === 0 && before.replaces !== null) return isOutOfTheWay(batch, before.replaces);
    return isProvenDone(before);
  }

  async function isProvenDone(before: Batch): Promise<boolean> {
    const standings = await batches.standings(before);
    for (let from = 0; from < before.made; from += PAGE) {
      const some = standings.slice(from, from + PAGE);
      if (!some.some((standing) => isInDoubt(before, standing))) continue;
      const targets = await batches.targets(before.id, from, PAGE);
      const ids = targets.flatMap(({ host }, i) =>
        isInDoubt(before, some[i] ?? 'unstarted') ? [batchJobId(before.id, host)] : [],
      );
      const found = await jobs.getMany(ids);
      if (!found.every((job) => job === null || isProvenOver(job))) return false;
    }
    return true;
  }
}

/** Where starts may be repeated an earlier one may be at work, however the last one ended. */
function isInDoubt({ job }: Batch, standing: Standing): boolean {
  if (job.on_ambiguous_start === 'retry') return !NOTHING_STARTED.has(standing);
  return IN_DOUBT.has(standing);
}
