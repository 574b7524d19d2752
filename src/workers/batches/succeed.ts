/**
 * A batch in place of another: it begins once nothing of that one is at work, which means over and, where jobs of it were
 * lost, proven over.
 */
import { type Batch, isBatchOver } from '../../job/batch.ts';
import { isProvenOver } from '../../job/proven-over.ts';
import { batchJobId } from '../../store/batches/job-id.ts';
import type { BatchStore } from '../../store/batches.ts';
import type { JobStore } from '../../store/jobs.ts';
import type { Wake } from '../../store/queues.ts';

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
    if (before.counts.lost === 0) return true;
    const standings = await batches.standings(before);
    const targets = await batches.targets(before.id, 0, before.total);
    const lost = targets.flatMap(({ host }, i) =>
      standings[i] === 'lost' ? [batchJobId(before.id, host)] : [],
    );
    return (await jobs.getMany(lost)).every((job) => job === null || isProvenOver(job));
  }
}
