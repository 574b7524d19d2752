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

  return async (batch, id) => {
    const before = await batches.get(id);
    if (before && !(await isProvenDone(before))) {
      const reason = `replaced by ${batch.id}`;
      if (!isBatchOver(before.state)) {
        const ordered = await batches.order(id, { kind: 'cancel', by: batch.created_by, reason });
        if (ordered === 'done') await wake.batch(id);
      }
      return 0;
    }
    return (await batches.order(batch.id, { kind: 'begin' })) === 'done' ? 1 : 0;
  };

  async function isProvenDone(before: Batch): Promise<boolean> {
    if (!isBatchOver(before.state)) return false;
    if (before.counts.lost === 0) return true;
    const standings = await batches.standings(before);
    const targets = await batches.targets(before.id, 0, before.total);
    const lost = targets.flatMap(({ host }, i) =>
      standings[i] === 'lost' ? [batchJobId(before.id, host)] : [],
    );
    return (await jobs.getMany(lost)).every((job) => job === null || isProvenOver(job));
  }
}
