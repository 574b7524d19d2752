/** The jobs of a batch: what each one is made of, and their ids. */
import type { Batch, BatchTarget } from '../../job/batch.ts';
import { type Job, NOT_STARTED } from '../../job/record.ts';
import { batchJobId } from '../../store/batches/job-id.ts';
import type { BatchStore } from '../../store/batches.ts';
import { envPlace, type Sealer } from '../../store/sealing.ts';

export function createJobs(deps: {
  batches: Pick<BatchStore, 'targets'>;
  sealer: Pick<Sealer, 'seal' | 'open'>;
}) {
  const { batches, sealer } = deps;
  return {
    /** @param now the time of its acceptance */
    ofTarget(batch: Batch, { host, target_server }: BatchTarget, index: number, now: number): Job {
      const id = batchJobId(batch.id, host);
      return {
        ...NOT_STARTED,
        ...batch.job,
        id,
        target_server,
        host,
        sealed_env: sealedFor(id, batch),
        unique_key: null,
        // The batch is what its caller wants to hear of; its jobs are heard of by endpoints.
        callback_url: null,
        created_at: now,
        batch_id: batch.id,
        batch_index: index,
        state: 'queued',
        version: 1,
      };
    },
    /** @param indexes of its targets */
    async idsOf(batch: Batch, indexes: readonly number[]): Promise<string[]> {
      const first = Math.min(...indexes);
      const targets = await batches.targets(batch.id, first, Math.max(...indexes) - first + 1);
      return indexes.flatMap((index) => {
        const target = targets[index - first];
        return target ? [batchJobId(batch.id, target.host)] : [];
      });
    },
  };

  function sealedFor(id: string, { job, ...batch }: Batch): string | null {
    if (job.sealed_env === null) return null;
    return sealer.seal(sealer.open(job.sealed_env, envPlace(batch.id)), envPlace(id));
  }
}
