/**
 * Committing that a start is about to be sent: from then on the job may have been started, whatever happens. Where
 * replicas are asked for (`SLUICE_ACK_REPLICAS`) they know it, too, before anything is sent. Else a failover would bring
 * back a record by which the job still waits, and it would be started again; with the same token, so that Full agents
 * and the launcher do not start it twice, but a Base agent without the launcher would.
 *
 * Other moves need no replicas: what they tell is asked for again at the host.
 */
import { hasCode } from '../../job/errors.ts';
import type { Change } from '../../job/move.ts';
import type { Job } from '../../job/record.ts';
import type { JobStore } from '../../store/jobs.ts';
import type { Acknowledged } from '../../store/redis/acknowledging.ts';
import type { PutBack } from './put-back.ts';

/** @returns the job, `dispatching`; else nothing may be sent, and when to look again (null: somebody else moved it) */
export type CommitStart = (job: Job, change: Change) => Promise<Job | { againInMs: number | null }>;

/** Where replicas are asked for: the store over the connection whose writes `acknowledged` waits for. */
export interface ReplicatedStarts {
  jobs: Pick<JobStore, 'transition'>;
  acknowledged: Acknowledged;
}

/** How long a start is put off whose replicas are missing, in ms. */
const LATER_MS = 2_000;

export function createCommitStart(deps: {
  jobs: Pick<JobStore, 'transition'>;
  putBack: PutBack;
  /** Null: no replicas are asked for. */
  replicated: ReplicatedStarts | null;
}): CommitStart {
  const { jobs, putBack, replicated } = deps;
  if (replicated === null) return async (job, change) => (await begin(jobs, job, change)) || NOT_OURS;
  const { acknowledged } = replicated;

  return async (job, change) => {
    let begun: Job | false | undefined;
    try {
      await acknowledged(async () => {
        begun = await begin(replicated.jobs, job, change);
      });
    } catch (error) {
      if (!hasCode(error, 'not_acknowledged')) throw error;
      return begun ? nothingSent(begun) : { againInMs: begun === undefined ? LATER_MS : null };
    }
    return begun || NOT_OURS;
  };

  /** It reads `dispatching`, and nothing was sent: left so, a Base agent would be asked about a start it never got. */
  async function nothingSent(job: Job): Promise<{ againInMs: number | null }> {
    const isBack = await putBack(job, LATER_MS, 'nothing was sent: replicas of the store are missing');
    // Not there any more: a failover has brought back what was before, and its place with it or not.
    return { againInMs: isBack ? null : LATER_MS };
  }
}

const NOT_OURS = { againInMs: null };

function begin(jobs: Pick<JobStore, 'transition'>, job: Job, change: Change): Promise<Job | false> {
  return jobs.transition(job, 'queued', 'dispatching', change);
}
