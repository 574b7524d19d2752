/** A job in words: one line for people, and the exit code that stands for its end. */
import { isOver } from '../../job/states.ts';
import type { JobView } from '../../protocol/job-view.ts';

/** Where there is no code of the command's own: as `timeout` and container engines have it. */
const TIMED_OUT = 124;
const NO_CODE = 125;

/** What a command line ends with after waiting for the job: the command's own code. */
export function exitCodeOf(job: JobView): number {
  if (job.state === 'succeeded') return 0;
  if (job.return_code !== null && job.return_code !== 0) return job.return_code;
  return job.state === 'timed_out' ? TIMED_OUT : NO_CODE;
}

/** `job_01… failed (exit 3) on web1` */
export function sentenceFor(job: JobView): string {
  return `${job.id} ${job.state}${why(job)} on ${job.host}`;
}

function why(job: JobView): string {
  if (!isOver(job.state) || job.state === 'succeeded' || !job.outcome) return '';
  const { kind, return_code, signal, message } = job.outcome;
  if (kind === 'exit') return ` (exit ${return_code})`;
  if (kind === 'signal') return ` (killed by SIG${signal})`;
  return ` (${message ?? kind})`;
}
