/** What the job for one of a batch's targets is made of. */
import type { Batch, BatchTarget } from '../../job/batch.ts';
import { type Job, NOT_STARTED } from '../../job/record.ts';
import { batchJobId } from '../../store/batches/job-id.ts';
import { envPlace, type Sealer } from '../../store/sealing.ts';

export function createJobOfTarget(sealer: Pick<Sealer, 'seal' | 'open'>) {
  /** @param now the time of its acceptance */
  return (batch: Batch, { host, target_server }: BatchTarget, index: number, now: number): Job => {
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
  };

  function sealedFor(id: string, { job, ...batch }: Batch): string | null {
    if (job.sealed_env === null) return null;
    return sealer.seal(sealer.open(job.sealed_env, envPlace(batch.id)), envPlace(id));
  }
}
