/**
 * The answers of one round of questions to a host. A job whose answer is bad does not hide the others; a host that
 * stops answering, or asks to wait, ends the round with what was learnt so far.
 */
import { hasCode, SluiceError } from '../../job/errors.ts';
import type { Job } from '../../job/record.ts';
import type { Report } from '../../job/report.ts';
import type { Answers } from './driver.ts';

export const noAnswers = (): Answers => ({ reports: new Map(), errors: new Map(), cursor: null });

/**
 * One question about `jobs`, whose answers `ask` puts into `answers`. A failure of the host is thrown only where
 * nothing was learnt before; else it stands for those of `jobs` that have no answer.
 * @returns whether to go on with the host
 */
export async function askSome(answers: Answers, jobs: Job[], ask: () => Promise<void>): Promise<boolean> {
  try {
    await ask();
    return true;
  } catch (error) {
    if (!(error instanceof SluiceError)) throw error;
    const goOn = hasCode(error, 'agent_failed', 'agent_reply_invalid', 'agent_rejected');
    if (!goOn && answers.reports.size + answers.errors.size === 0) throw error;
    for (const { id } of jobs) {
      if (!answers.reports.has(id) && !answers.errors.has(id)) answers.errors.set(id, error);
    }
    return goOn;
  }
}

/** How long a round of single questions may take; the rest is due again at once, and comes first then. */
const ROUND_MS = 30_000;

/** One question per job, one after another: what Base agents need. Null where `askOne` leaves it to others. */
export async function askEach(
  answers: Answers,
  jobs: Job[],
  askOne: (job: Job) => Promise<Report | null>,
): Promise<boolean> {
  const end = Date.now() + ROUND_MS;
  for (const job of jobs) {
    if (Date.now() > end) return false;
    const goOn = await askSome(answers, [job], async () => {
      const report = await askOne(job);
      if (report) answers.reports.set(job.id, report);
    });
    if (!goOn) return false;
  }
  return true;
}

/** How long after its start a job may be missing on its host: logins are slow there, and files come late. */
const SETTLING_MS = 60_000;

/**
 * Base agents take a start before it is on their disk, so `unknown` says nothing yet of a job that was taken a
 * moment ago. A job whose start is still in question has no such credit, nor one that was given up: it would be
 * told as seen running.
 */
export function isJustStarted(job: Pick<Job, 'state' | 'dispatched_at'>): boolean {
  if (job.state === 'dispatching' || job.state === 'lost' || job.dispatched_at === null) return false;
  return Date.now() - job.dispatched_at < SETTLING_MS;
}
