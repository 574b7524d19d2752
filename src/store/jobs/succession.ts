/**
 * What is left to do after a job with a unique key was accepted in place of another: the other one is canceled, and
 * this one may start once it holds the key. Each step is done at once by whoever comes to it, and by the sweep
 * where that process died: looking again at a job is harmless.
 */
import { isProvenOver } from '../../job/proven-over.ts';
import type { CancelOrder, Job } from '../../job/record.ts';
import type { JobStore } from '../jobs.ts';
import type { Wake } from '../queues.ts';
import type { Cancel } from './cancel.ts';
import type { LineStore } from './line.ts';

/** How often at least it is looked whether who holds the key is being canceled, in ms. */
const LOOK_MS = 30_000;

/** Does what can be done for a job in the succession. */
export type Succeed = (id: string) => Promise<void>;

export function createSucceed(deps: {
  jobs: Pick<JobStore, 'get'>;
  lines: LineStore;
  cancel: Cancel;
  wake: Pick<Wake, 'dispatch'>;
}): Succeed {
  const { jobs, lines, cancel, wake } = deps;

  return async (id) => {
    const job = await jobs.get(id);
    if (job?.state !== 'queued') return lines.forget(id);
    const { holder, next } = await lines.read(job);
    if (holder === id) return letGo(job);
    if (next !== id) {
      // A later one has taken its place, before anything of it was started.
      await cancel(id, replacedBy(next ?? holder ?? 'another job'), job.created_by);
      return;
    }
    await lines.putOff(id, LOOK_MS);
    if (holder !== null) await cancelHolder(job, holder);
  };

  async function letGo(job: Job): Promise<void> {
    if (await lines.letGo(job)) await wake.dispatch(job.host);
  }

  async function cancelHolder(job: Job, holder: string): Promise<void> {
    const asked = await cancel(holder, replacedBy(job.id), job.created_by);
    if (asked && !isProvenOver(asked.job)) return;
    // Its move has taken it out of the line already, but where Redis has lost its last second.
    await lines.leave(job, holder);
    await letGo(job);
  }
}

function replacedBy(id: string): CancelOrder {
  return { signal: 'TERM', grace_seconds: 10, reason: `replaced by ${id}` };
}
