/**
 * Questions that got no answer: what it means for the jobs that they were about, and when these are asked about
 * again. The host's own trouble is recorded by then; see `contact.ts`.
 */
import { pauseAskedMs } from '../../job/circuit.ts';
import type { SluiceError } from '../../job/errors.ts';
import type { Job } from '../../job/record.ts';
import type { Followed } from '../../store/followed.ts';
import type { JobStore } from '../../store/jobs.ts';
import type { Target } from '../contact.ts';
import type { Silence } from './silence.ts';

/** After a slot was not to be had: nobody knows when one comes free. */
const BUSY_PAUSE_MS = 200;

export interface Unanswered {
  /** Not asked about this time: nothing may be concluded, and they come again soon. */
  notAsked(target: Target, ids: string[]): Promise<void>;
  /** Not asked about for want of a token: they come again when there is one. */
  outOfBudget(target: Target, ids: string[], error: SluiceError): Promise<void>;
  /** A question about these jobs was not sent, or got no answer. */
  whole(target: Target, ids: string[], error: SluiceError): Promise<void>;
  /** The host answers, but not about this job: a reply that its agent cannot make. */
  one(target: Target, job: Job, error: SluiceError): Promise<void>;
}

export function createUnanswered(deps: {
  jobs: Pick<JobStore, 'getMany' | 'now'>;
  followed: Pick<Followed, 'askAt'>;
  silence: Silence;
}): Unanswered {
  const { jobs, followed, silence } = deps;

  const notAsked: Unanswered['notAsked'] = (target, ids) => putOff(target.name, ids, BUSY_PAUSE_MS);

  const outOfBudget: Unanswered['outOfBudget'] = (target, ids, error) =>
    putOff(target.name, ids, pauseAskedMs(error));

  async function one(target: Target, job: Job, error: SluiceError): Promise<void> {
    if (error.code === 'host_busy') return outOfBudget(target, [job.id], error);
    const pauseMs = job.poll_interval * 1_000;
    await silence.ofJob(job, error, pauseMs);
    await putOff(target.name, [job.id], pauseMs);
  }

  async function putOff(host: string, ids: string[], inMs: number): Promise<void> {
    const at = (await jobs.now()) + inMs;
    await followed.askAt(host, new Map(ids.map((id) => [id, at])));
  }

  return {
    notAsked,
    outOfBudget,
    one,
    async whole(target, ids, error) {
      if (error.code === 'host_busy') return notAsked(target, ids);
      const asked = (await jobs.getMany(ids)).filter((job) => job !== null);
      const { silent, pauseMs } = await silence.ofHost(target, asked);
      await putOff(target.name, ids, pauseMs);
      if (silent || error.code === 'agent_busy') return;
      // It answers, but not to this question: another agent lives there than the one that started these jobs.
      for (const job of asked) await one(target, job, error);
    },
  };
}
