/**
 * Ending a batch early: what was never started is withdrawn, and counts as `unstarted`; where the batch is canceled, what
 * is on its host is canceled there, with proof. What was started once and waits for a further attempt is under way: a
 * batch that stops leaves it alone.
 */
import type { Batch } from '../../job/batch.ts';
import { outcome } from '../../job/outcome.ts';
import type { Job } from '../../job/record.ts';
import { batchJobId } from '../../store/batches/job-id.ts';
import type { BatchStore } from '../../store/batches.ts';
import type { Cancel } from '../../store/jobs/cancel.ts';
import type { JobStore } from '../../store/jobs.ts';

/** Jobs in hand at once. */
const AT_ONCE = 200;

/** @returns how many jobs were moved */
export type EndEarly = (batch: Batch) => Promise<number>;

export function createEndEarly(deps: {
  batches: Pick<BatchStore, 'standings' | 'targets' | 'now'>;
  jobs: Pick<JobStore, 'getMany' | 'transition'>;
  cancel: Cancel;
}): EndEarly {
  const { batches, jobs, cancel } = deps;

  return async (batch) => {
    const standings = await batches.standings(batch);
    const wanted = new Set<string>(
      batch.state === 'canceling' ? ['queued', 'dispatching', 'running', 'unreachable'] : ['queued'],
    );
    let moved = 0;
    for (let from = 0; from < batch.made; from += AT_ONCE) {
      const some = standings.slice(from, from + AT_ONCE);
      if (!some.some((standing) => wanted.has(standing))) continue;
      const targets = await batches.targets(batch.id, from, AT_ONCE);
      const ids = targets.flatMap(({ host }, i) =>
        wanted.has(some[i] ?? '') ? [batchJobId(batch.id, host)] : [],
      );
      const found = (await jobs.getMany(ids)).filter((job) => job !== null);
      const ends = await Promise.all(found.map((job) => end(batch, job)));
      moved += ends.filter(Boolean).length;
    }
    return moved;
  };

  async function end(batch: Batch, job: Job): Promise<boolean> {
    const isFirst = job.attempts.length === 0;
    if (job.state === 'queued' && isFirst) return withdraw(batch, job);
    if (batch.state !== 'canceling') return false;
    const order = { signal: 'TERM', grace_seconds: 10, reason: reasonOf(batch) };
    const asked = await cancel(job.id, order, batch.canceled_by ?? batch.created_by);
    return asked !== null && asked.kind !== 'over' && asked.job.version !== job.version;
  }

  async function withdraw(batch: Batch, job: Job): Promise<boolean> {
    const message = `never started: ${reasonOf(batch)}`;
    const moved = await jobs.transition(job, 'queued', 'canceled', {
      cancel_requested_at: await batches.now(),
      canceled_by: batch.canceled_by ?? batch.created_by,
      outcome: outcome('canceled', { message }),
      withdrawn: true,
      why: message,
    });
    return moved !== false;
  }
}

function reasonOf({ id, stopped_because, cancel_reason }: Batch): string {
  if (stopped_because !== null) return `${id} crossed ${stopped_because}`;
  return cancel_reason ?? `${id} was canceled`;
}
