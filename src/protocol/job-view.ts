/**
 * A job as callers see it: in the API's replies and in webhooks. A secret of a job (its environment) has no
 * field here, so that no reply and no delivery can carry one.
 *
 * Times are RFC 3339 in UTC. Output is text here; bytes that are not UTF-8 show as U+FFFD, `/logs` has them all.
 */
import Type, { type Static } from 'typebox';
import { asOfAttempt } from '../job/attempts.ts';
import { OUTCOME_KINDS, PROOFS } from '../job/outcome.ts';
import type { Job, Tails } from '../job/record.ts';
import { MODES, RETRY_CAUSES, STARTERS } from '../job/record.ts';
import { isOver, STATES } from '../job/states.ts';
import { nullable, oneOf, oneOfOrNull, orNull, time } from './fields.ts';

/** What is kept beside the record. */
export interface KeptOutput {
  tails?: Tails | null;
  /** `sync` jobs, for an hour: the first 64 KiB of each stream. */
  output?: { stdout: Buffer; stderr: Buffer; truncated: boolean } | null;
}

const OutcomeView = Type.Object(
  {
    kind: oneOf(OUTCOME_KINDS, 'How the job ended.'),
    return_code: orNull('integer', "The command's own code; 128 + the signal's number after a signal."),
    signal: orNull('string', "The signal's name without SIG, such as KILL."),
    message: orNull('string', 'One sentence for people.'),
    ended_at: time("When it ended, by the host's clock, corrected."),
    proof: oneOfOrNull(PROOFS, 'How the end of the process tree was checked.'),
    leftover_processes: orNull('integer', 'Processes that it left behind on purpose; null: not counted.'),
  },
  { description: 'How the job ended.' },
);

const AttemptView = Type.Object({
  attempt: Type.Integer({ description: 'Counts from 1.' }),
  state: oneOf(STATES, 'How it ended, as if it had been the last one; of the present one as of the job.'),
  outcome: nullable(OutcomeView),
  started_by: oneOfOrNull(STARTERS, 'How it was started.'),
  agent_job_id: orNull('string', 'The id under which the agent knows it.'),
  dispatched_at: time('When the gateway began to ask the agent to start it.'),
  started_at: time("When it started, by the host's clock, corrected."),
  ended_at: time("When it ended, by the host's clock, corrected."),
  stdout_bytes: orNull('integer', 'Bytes of its output, as last heard.'),
  stderr_bytes: orNull('integer', 'Bytes of its output, as last heard.'),
});

const RetryView = Type.Object(
  {
    max_attempts: Type.Integer({ description: 'How often it is started at most.' }),
    backoff_seconds: Type.Integer({ description: 'The pause before the second attempt; it doubles.' }),
    on: Type.Array(oneOf(RETRY_CAUSES, 'An end after which it is run again.')),
  },
  { description: 'When its command is run again; null: never.' },
);

export const JobView = Type.Object(
  {
    id: Type.String({ description: '`job_` and a ULID: sorts by the time of its acceptance.' }),
    target_server: Type.String({ description: 'As the caller wrote it.' }),
    host: Type.String({ description: "The registered host's name, or the address that a pattern admits." }),
    command: Type.String({ description: 'The shell command line.' }),
    mode: oneOf(MODES, 'How it runs on the host.'),
    job_user: orNull('string', "The unix user it runs as; null: the agent's own."),
    state: oneOf(STATES, 'Where it stands.'),
    outcome: nullable(OutcomeView),
    return_code: orNull('integer', 'As in `outcome`; null while it is not over, and where there is none.'),
    version: Type.Integer({ description: 'Grows by one with every change; also the `ETag`.' }),
    attempt: Type.Integer({ description: 'The present attempt; 0 before the first start.' }),
    attempts: Type.Array(AttemptView, { description: 'The attempts so far, oldest first.' }),
    started_by: oneOfOrNull(STARTERS, 'How it was started, and therefore how it is followed.'),
    agent_job_id: orNull('string', 'The id under which the agent knows it.'),
    shell: orNull('string', 'The shell that was asked for.'),
    workdir: orNull('string', 'The working directory that was asked for.'),
    timeout_seconds: orNull('integer', 'How long an attempt may run, in seconds.'),
    start_deadline_seconds: Type.Integer({ description: 'Not started so many seconds on: `expired`.' }),
    lost_after_seconds: Type.Integer({ description: 'Silent for so many seconds: `lost`.' }),
    poll_interval: Type.Integer({ description: 'The longest pause between two questions about it, in s.' }),
    not_before: time('It does not start before then.'),
    priority: Type.Integer({ description: '0 to 9: higher first, among the jobs of its host.' }),
    on_ambiguous_start: oneOf(['lose', 'retry'], 'What to do where a start may or may not have happened.'),
    leftovers: oneOf(['keep', 'kill'], 'What to do with processes that outlive the main one.'),
    retry: nullable(RetryView),
    unique_key: orNull('string', 'At most one job with it may be at work.'),
    attached: Type.Optional(
      Type.Boolean({ description: 'In the answer to a submission: the job held the `unique_key` already.' }),
    ),
    labels: Type.Record(Type.String(), Type.String(), { description: 'For filters and people.' }),
    created_by: Type.String({ description: 'The name of the API key that made it.' }),
    canceled_by: orNull('string', 'The name of the API key that canceled it.'),
    created_at: Type.String({ description: 'When it was accepted. RFC 3339, UTC.' }),
    dispatched_at: time('When the gateway began to ask the agent to start it.'),
    started_at: time("When it started, by the host's clock, corrected by its skew."),
    ended_at: time("When it ended, by the host's clock, corrected by its skew."),
    unreachable_since: time('Since when its host has not answered.'),
    sighted_at: time('When it was found still running after it had been lost.'),
    recovered_at: time('When its true end was found after it had been lost.'),
    cancel_requested_at: time('When a cancel was asked for.'),
    next_poll_at: time('When its host is asked about it next.'),
    stdout_bytes: orNull('integer', 'Bytes of output so far, as last heard.'),
    stderr_bytes: orNull('integer', 'Bytes of output so far, as last heard.'),
    stdout_tail: Type.Optional(orNull('string', 'Once over: the last 8 KiB. Not in lists.')),
    stderr_tail: Type.Optional(orNull('string', 'Once over: the last 8 KiB. Not in lists.')),
    stdout: Type.Optional(
      Type.String({ description: '`sync`, for an hour after its end: the first 64 KiB.' }),
    ),
    stderr: Type.Optional(
      Type.String({ description: '`sync`, for an hour after its end: the first 64 KiB.' }),
    ),
    stdout_truncated: Type.Optional(Type.Boolean({ description: 'There was more than `stdout` carries.' })),
    stderr_truncated: Type.Optional(Type.Boolean({ description: 'There was more than `stderr` carries.' })),
    attach_command: orNull('string', 'tmux: what a person types on the host to attach.'),
    batch_id: orNull('string', 'The batch that it belongs to.'),
    traceparent: orNull('string', 'The W3C trace context that came with its request.'),
    links: Type.Object({
      self: Type.String(),
      logs: Type.String(),
      events: Type.String(),
      explain: Type.String(),
      cancel: Type.String(),
    }),
  },
  { description: 'A job.' },
);
export type JobView = Static<typeof JobView>;

/** @param kept what is kept beside the record; without it the view has no output, as in lists */
export function jobView(job: Job, kept?: KeptOutput): JobView {
  return {
    id: job.id,
    target_server: job.target_server,
    host: job.host,
    command: job.command,
    mode: job.mode,
    job_user: job.job_user,
    state: job.state,
    outcome: outcomeView(job),
    return_code: job.outcome?.return_code ?? null,
    version: job.version,
    attempt: job.attempt,
    attempts: attempts(job),
    started_by: job.started_by,
    agent_job_id: job.agent_job_id,
    shell: job.shell,
    workdir: job.workdir,
    timeout_seconds: job.timeout_seconds,
    start_deadline_seconds: job.start_deadline_seconds,
    lost_after_seconds: job.lost_after_seconds,
    poll_interval: job.poll_interval,
    not_before: timestamp(job.not_before),
    priority: job.priority,
    on_ambiguous_start: job.on_ambiguous_start,
    leftovers: job.leftovers,
    retry: job.retry && { ...job.retry, on: [...job.retry.on] },
    unique_key: job.unique_key,
    labels: job.labels,
    created_by: job.created_by,
    canceled_by: job.canceled_by,
    created_at: new Date(job.created_at).toISOString(),
    dispatched_at: timestamp(job.dispatched_at),
    started_at: timestamp(job.started_at),
    ended_at: timestamp(job.ended_at),
    unreachable_since: timestamp(job.unreachable_since),
    sighted_at: timestamp(job.sighted_at),
    recovered_at: timestamp(job.recovered_at),
    cancel_requested_at: timestamp(job.cancel_requested_at),
    next_poll_at: timestamp(job.next_poll_at),
    stdout_bytes: job.stdout_bytes,
    stderr_bytes: job.stderr_bytes,
    ...(kept && output(job, kept)),
    attach_command: job.attach_command,
    batch_id: job.batch_id,
    traceparent: job.traceparent,
    links: links(job.id),
  };
}

/** Milliseconds since 1970 as RFC 3339. */
export function timestamp(ms: number | null): string | null {
  return ms === null ? null : new Date(ms).toISOString();
}

function attempts(job: Job): JobView['attempts'] {
  const numbers = Array.from({ length: job.attempt }, (_, i) => i + 1);
  return numbers.flatMap((attempt) => {
    const seen = asOfAttempt(job, attempt);
    // Of jobs that earlier versions started again, only the present attempt is known.
    return seen.attempt === attempt ? [attemptView(seen)] : [];
  });
}

function attemptView(job: Job): JobView['attempts'][number] {
  const { attempt, state, started_by, agent_job_id, stdout_bytes, stderr_bytes } = job;
  return {
    attempt,
    state,
    outcome: outcomeView(job),
    started_by,
    agent_job_id,
    dispatched_at: timestamp(job.dispatched_at),
    started_at: timestamp(job.started_at),
    ended_at: timestamp(job.ended_at),
    stdout_bytes,
    stderr_bytes,
  };
}

function outcomeView({ outcome }: Job): JobView['outcome'] {
  return outcome && { ...outcome, ended_at: timestamp(outcome.ended_at) };
}

function output(job: Job, { tails, output }: KeptOutput): Partial<JobView> {
  return {
    stdout_tail: tails && isOver(job.state) ? tails.stdout.toString('utf8') : null,
    stderr_tail: tails && isOver(job.state) ? tails.stderr.toString('utf8') : null,
    ...(output && {
      stdout: output.stdout.toString('utf8'),
      stderr: output.stderr.toString('utf8'),
      stdout_truncated: longer(job.stdout_bytes, output.stdout, output.truncated),
      stderr_truncated: longer(job.stderr_bytes, output.stderr, output.truncated),
    }),
  };
}

/** Which stream was cut follows from its size; where that is not known, from what was noted for both. */
function longer(bytes: number | null, kept: Buffer, truncated: boolean): boolean {
  return truncated && (bytes === null || bytes > kept.length);
}

function links(id: string): JobView['links'] {
  const self = `/v1/jobs/${id}`;
  return {
    self,
    logs: `${self}/logs`,
    events: `${self}/events`,
    explain: `${self}/explain`,
    cancel: `${self}:cancel`,
  };
}
