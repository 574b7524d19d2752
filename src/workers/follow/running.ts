/**
 * Asking a Full agent about the jobs that run there, nearly all of which have not changed: one request for all of
 * them, and for those that run on no more than the time of their next question, written for all at once. Whatever
 * else the host says is settled with the whole record, as for every other job.
 */
import type { AgentPort } from '../../job/agent-port.ts';
import type { SluiceError } from '../../job/errors.ts';
import { nextQuestionAt, pauseMs } from '../../job/pace.ts';
import type { Job } from '../../job/record.ts';
import { grown, type Report } from '../../job/report.ts';
import type { Followed } from '../../store/followed.ts';
import type { RunningJob } from '../../store/jobs/glance.ts';
import type { JobStore } from '../../store/jobs.ts';
import type { Commit } from '../commit.ts';
import type { Contact, Target } from '../contact.ts';
import { reread } from './reread.ts';
import type { Unanswered } from './unanswered.ts';

/** Rejects with what the request rejects with. */
export type AskRunning = (target: Target, running: RunningJob[]) => Promise<void>;

export function createAskRunning(deps: {
  jobs: Pick<JobStore, 'getMany' | 'noteGrowth' | 'now'>;
  followed: Pick<Followed, 'askAt'>;
  agents: Pick<AgentPort, 'ask'>;
  contact: Pick<Contact, 'attempt'>;
  commit: Commit;
  unanswered: Unanswered;
}): AskRunning {
  const { jobs, followed, agents, contact, commit, unanswered } = deps;

  return async (target, running) => {
    const { reports, errors } = await contact.attempt(target, 'status', (dial) => agents.ask(dial, running));
    const now = await jobs.now();
    const times = new Map<string, number>();
    const changed: RunningJob[] = [];
    for (const job of running) {
      if (reports.get(job.id)?.kind === 'running') times.set(job.id, nextAbout(job, now, target.name));
      else changed.push(job);
    }
    await jobs.noteGrowth(running.flatMap((job) => grown(job, reports.get(job.id))));
    await followed.askAt(target.name, times);
    for (const job of await reread(jobs, changed)) {
      await settle(target, job, reports.get(job.id), errors.get(job.id));
    }
  };

  async function settle(target: Target, job: Job, report?: Report, error?: SluiceError): Promise<void> {
    if (error) return unanswered.one(target, job, error);
    // A move says itself when the job is asked about next; what changed nothing must not stay due.
    if (!report || !(await commit(target, job, report))) await unanswered.notAsked(target, [job.id]);
  }
}

/** When to ask about a job that runs on. */
export function nextAbout(job: RunningJob, now: number, host: string, leastMs = 0): number {
  const pause = pauseMs(now - (job.dispatched_at ?? now), job.poll_interval);
  return nextQuestionAt(now, Math.max(pause, leastMs), host);
}
