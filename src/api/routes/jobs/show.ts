/** One job with what is kept beside its record. */
import type { Job } from '../../../job/record.ts';
import { isOver } from '../../../job/states.ts';
import { type JobView, jobView } from '../../../protocol/job-view.ts';
import type { JobStore } from '../../../store/jobs.ts';

export async function showJob(jobs: Pick<JobStore, 'tails' | 'output'>, job: Job): Promise<JobView> {
  if (!isOver(job.state)) return jobView(job, {});
  const [tails, output] = await Promise.all([
    jobs.tails(job.id),
    job.mode === 'sync' ? jobs.output(job.id) : null,
  ]);
  return jobView(job, { tails, output });
}
