/**
 * A start that is on its way, and its batch: the move to `dispatching` is refused while a batch starts nothing
 * (`store/batches/course.ts`), but one that was made before may be sent late, or again, because its reply was lost. It may
 * be the first to arrive, so it is not sent either.
 */
import type { Job } from '../../job/record.ts';
import type { BatchStore } from '../../store/batches.ts';
import type { Target } from '../contact.ts';
import type { PutBack } from './put-back.ts';
import type { HasStarted, KeepFromStarting } from './tombstone.ts';

export interface BatchGate {
  /** Whether its batch has nothing of it sent now. */
  isShut(job: Job): Promise<boolean>;
  /**
   * Of a start whose reply was lost.
   * @returns null if it may be sent again; else what is left to do
   * @throws SluiceError of an agent: nothing may be concluded
   */
  holdsBack(target: Target, job: Job): Promise<{ againInMs: number | null } | null>;
}

/** How long after its batch was resumed such a start is sent again, at most, in ms. */
const LOOK_MS = 5_000;

export function createBatchGate(deps: {
  batches: Pick<BatchStore, 'get'>;
  hasStarted: HasStarted;
  keepFromStarting: KeepFromStarting;
  putBack: PutBack;
}): BatchGate {
  const { batches, hasStarted, keepFromStarting, putBack } = deps;

  async function shutBy({ batch_id, attempts }: Job): Promise<'paused' | 'ending' | null> {
    const batch = batch_id === null ? null : await batches.get(batch_id);
    if (batch === null || batch.state === 'running') return null;
    if (batch.state === 'paused') return 'paused';
    // What was started once is under way where its batch stops, with its further attempts.
    return batch.state === 'stopping' && attempts.length > 0 ? null : 'ending';
  }

  return {
    isShut: async (job) => (await shutBy(job)) !== null,
    async holdsBack(target, job) {
      // A plain Base agent keeps no tombstone, and a start is not repeated there anyhow.
      const by = job.started_by === 'base' ? null : await shutBy(job);
      if (by === null) return null;
      if (by === 'paused') {
        // Without a tombstone: its token is still to be started when the batch is resumed.
        return { againInMs: (await hasStarted(target, job)) ? null : LOOK_MS };
      }
      if (await keepFromStarting(target, job, `${job.batch_id} starts nothing any more`)) {
        await putBack(job, 0, 'nothing was started, and its batch starts nothing any more');
      }
      return { againInMs: null };
    },
  };
}
