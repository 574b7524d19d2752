/**
 * Jobs whose host was removed before its turn in the batch came: they end at once, for nobody would start them. Looked at
 * once they are made: from then on their host cannot be removed.
 */
import { outcome } from '../../job/outcome.ts';
import type { Job } from '../../job/record.ts';
import type { JobStore } from '../../store/jobs.ts';

/** @returns those whose hosts are there */
export type EndGone = <Made extends { job: Job }>(made: readonly Made[]) => Promise<Made[]>;

const MESSAGE = 'the host is not registered any more';

export function createEndGone(deps: {
  hosts: { resolveMany: (names: readonly string[]) => Promise<readonly unknown[]> };
  jobs: Pick<JobStore, 'transition'>;
}): EndGone {
  const { hosts, jobs } = deps;

  return async (made) => {
    if (made.length === 0) return [];
    const found = await hosts.resolveMany(made.map(({ job }) => job.host));
    const gone = made.filter((_, i) => found[i] === null);
    await Promise.all(gone.map(({ job }) => reject(job)));
    return made.filter((_, i) => found[i] !== null);
  };

  async function reject(job: Job): Promise<void> {
    const change = { outcome: outcome('rejected', { message: MESSAGE }), why: MESSAGE };
    await jobs.transition(job, 'queued', 'failed', change);
  }
}
