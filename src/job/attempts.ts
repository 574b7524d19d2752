/**
 * The attempts of a job: each is one start on the host with a launch token, an output and an end of its own. What is
 * known of the present one are the fields of the job; what became of those before it is kept beside them.
 *
 * Pure. When there is another attempt is decided in `retry.ts`, and by a start that nobody can settle.
 */
import type { Change } from './move.ts';
import type { Outcome } from './outcome.ts';
import type { EndedAttempt, Job, JobProgress } from './record.ts';
import type { OverState } from './states.ts';

/** What is known of an attempt by itself. */
const OWN_FIELDS = [
  'attempt',
  'started_by',
  'agent_job_id',
  'launcher_dir',
  'dispatched_at',
  'started_at',
  'ended_at',
  'stdout_bytes',
  'stderr_bytes',
] as const satisfies (keyof EndedAttempt)[];

/** What a new attempt has to find out for itself, and where it begins. */
const NOT_BEGUN = {
  started_by: null,
  agent_job_id: null,
  launcher_dir: null,
  store_id: null,
  dispatched_at: null,
  started_at: null,
  ended_at: null,
  unreachable_since: null,
  unanswered_asks: 0,
  stdout_bytes: null,
  stderr_bytes: null,
  attach_command: null,
  outcome: null,
} satisfies Partial<JobProgress>;

/** What a move to `queued` writes when the present attempt is over and another one is to follow. */
export function nextAttempt(
  job: Job,
  ended: { state: OverState; change: Partial<JobProgress> & { outcome: Outcome } },
  follows: Required<Pick<Change, 'eligible_at' | 'why'>>,
): Change {
  const { state, change } = ended;
  const seen = { ...job, ...change };
  const own = Object.fromEntries(OWN_FIELDS.map((field) => [field, seen[field]]));
  const kept = { ...own, state, outcome: change.outcome, next_from: follows.eligible_at } as EndedAttempt;
  return { ...NOT_BEGUN, ...follows, attempt: job.attempt + 1, attempts: [...job.attempts, kept] };
}

/** The job as it stood at the end of an earlier attempt; the job itself for the present one. */
export function asOfAttempt(job: Job, attempt: number): Job {
  const ended = job.attempts.find((one) => one.attempt === attempt);
  if (!ended) return job;
  const { next_from, ...seen } = ended;
  return { ...job, ...seen };
}

/** Whether it has ended an attempt and has not begun the next one. */
export function waitsForNextAttempt({ state, attempts, started_by }: Job): boolean {
  return state === 'queued' && attempts.length > 0 && started_by === null;
}
