/**
 * The driver for jobs that a Full agent started: the launch token is the agent's job id, so every request can be
 * repeated, and many jobs cost one question.
 */
import Type from 'typebox';
import { Compile } from 'typebox/compile';
import { type DialHost, type KnownByToken, type LogRange, MAX_RANGE_BYTES } from '../../job/agent-port.ts';
import { hasCode, SluiceError } from '../../job/errors.ts';
import { type Job, launchToken } from '../../job/record.ts';
import type { Report } from '../../job/report.ts';
import { AgentJob, type CancelRequest, LogsReply, type RunRequest } from '../../protocol/agent.ts';
import { noAnswers } from './answers.ts';
import type { Answers, Driver, Hold } from './driver.ts';
import type { Exchange } from './exchange.ts';
import { reportOf } from './full-report.ts';
import { createPing } from './ping.ts';
import { invalid } from './reply.ts';

const AGENT_JOB = Compile(AgentJob);
const LOGS_REPLY = Compile(LogsReply);
/** Each job is checked by itself: one that makes no sense must not hide the others. */
const BATCH_REPLY = Compile(Type.Object({ jobs: Type.Array(Type.Unknown()), cursor: Type.String() }));

/** Jobs in one question; a held one takes them all, because its cursor stands for them all. */
const BATCH = 500;
const HELD_BATCH = 10_000;
/** More than an agent says about one job without its output. */
const BYTES_PER_JOB = 8_192;
/** Two streams of an agent's bound, with JSON's escapes. */
const RUN_REPLY_BYTES = 4_194_304;

export function createFullDriver(exchange: Exchange): Driver {
  const ping = createPing(exchange);

  return {
    async start(host, order) {
      const body = runRequest(order.job, order.token, order.env, order.secret_env);
      if (order.wait_seconds > 0) body.wait_seconds = order.wait_seconds;
      const reply = await exchange.ask(
        host,
        {
          what: 'run',
          method: 'POST',
          path: '/run',
          body,
          holdMs: order.wait_seconds * 1000,
          maxBytes: RUN_REPLY_BYTES,
        },
        AGENT_JOB,
      );
      if (reply.job_id !== order.token) throw invalid('it is about another job');
      return { agent_job_id: reply.job_id, report: reportOf(reply), existing: reply.existing ?? false };
    },

    async ask(host, jobs: KnownByToken[], hold) {
      const answers = noAnswers();
      const size = hold ? HELD_BATCH : BATCH;
      for (let from = 0; from < jobs.length; from += size) {
        const some = jobs.slice(from, from + size);
        try {
          const reply = await exchange.ask(host, batchQuestion(some, hold), BATCH_REPLY);
          // The first one: what changed between the questions is then told once more, never missed.
          answers.cursor ??= reply.cursor;
          sortInto(answers, some, reply.jobs, hold !== undefined);
        } catch (error) {
          if (from === 0 || !(error instanceof SluiceError)) throw error;
          for (const job of some) answers.errors.set(job.id, error);
          break;
        }
        if (hold) break;
      }
      return answers;
    },

    async cancel(host, job, order) {
      const { signal, grace_seconds } = order;
      const body: CancelRequest = { signal, grace_seconds };
      const question = {
        what: 'cancel' as const,
        method: 'POST' as const,
        path: `/cancel/${idOf(job)}`,
        // After the grace the agent still has to kill, and to look what is left.
        holdMs: grace_seconds * 1000 + 10_000,
        maxBytes: RUN_REPLY_BYTES,
      };
      if (job.store_id === null) return canceled(await exchange.ask(host, { ...question, body }, AGENT_JOB));
      await refuseAnotherStore(host, job.store_id);
      const guarded: CancelRequest = { ...body, expect_store_id: job.store_id };
      const reply = await exchange
        .ask(host, { ...question, body: guarded }, AGENT_JOB)
        .catch((error: unknown) => {
          // An agent from before the field refuses the whole body, and has done nothing.
          if (!hasCode(error, 'agent_rejected') || error.fields.http_status !== 422) throw error;
          return exchange.ask(host, { ...question, body }, AGENT_JOB);
        });
      return canceled(reply);
    },

    async read(host, job, range) {
      const limit = Math.min(range.limit, MAX_RANGE_BYTES);
      const id = launchToken({ id: job.id, attempt: range.attempt });
      const query = `stream=${range.stream}&offset=${range.offset}&limit=${limit}`;
      const reply = await exchange
        .ask(
          host,
          // Six bytes for one: a control character in JSON.
          { what: 'logs', method: 'GET', path: `/logs/${id}?${query}`, maxBytes: 8_192 + 6 * limit },
          LOGS_REPLY,
        )
        .catch((error: unknown) => {
          if (!hasCode(error, 'agent_reply_invalid', 'agent_rejected') || !isNotFound(error)) throw error;
          throw new SluiceError('output_gone', 'The host has no output of this attempt', { cause: error });
        });
      return rangeOf(reply, range.offset, limit);
    },
  };

  /** Asked before a cancel, because agents from before `expect_store_id` would leave a tombstone in any store. */
  async function refuseAnotherStore(host: DialHost, storeId: string): Promise<void> {
    const { facts } = await ping(host);
    if (facts.kind !== 'full' || facts.store_id === storeId) return;
    throw new SluiceError(
      'agent_store_changed',
      "The host's records are not those in which the job was started",
    );
  }
}

const canceled = (reply: AgentJob) => ({ report: reportOf(reply), unproven: false });

function runRequest(
  job: Job,
  token: string,
  env: Record<string, string>,
  secretEnv: Record<string, string>,
): RunRequest {
  return {
    job_type: 'shell',
    command: job.command,
    run_as_user: job.job_user,
    sync: false,
    use_tmux: job.mode === 'tmux',
    env,
    timeout_seconds: job.timeout_seconds,
    job_id: token,
    ...(job.store_id !== null && { expect_store_id: job.store_id }),
    workdir: job.workdir,
    shell: job.shell,
    ...(Object.keys(secretEnv).length > 0 && { secret_env: secretEnv }),
    leftovers: job.leftovers,
  };
}

function batchQuestion(jobs: KnownByToken[], hold: Hold | undefined) {
  return {
    what: 'status' as const,
    method: 'POST' as const,
    path: '/status',
    body: {
      job_ids: jobs.map(idOf),
      ...(hold && { wait_seconds: hold.seconds }),
      ...(hold?.cursor != null && { cursor: hold.cursor }),
    },
    maxBytes: 65_536 + jobs.length * BYTES_PER_JOB,
    ...(hold && { holdMs: hold.seconds * 1000, signal: hold.signal }),
  };
}

/** A held answer may leave out jobs that did not change; one that was not held must tell of each. */
function sortInto(answers: Answers, jobs: KnownByToken[], said: unknown[], held: boolean): void {
  const byId = new Map<string, Report | SluiceError>();
  for (const one of said) {
    const id = typeof one === 'object' && one !== null && 'job_id' in one ? String(one.job_id) : '';
    byId.set(id, reportOrError(one));
  }
  for (const job of jobs) {
    const found = byId.get(idOf(job)) ?? (held ? null : invalid('a job is missing in it'));
    if (found instanceof SluiceError) answers.errors.set(job.id, found);
    else if (found) answers.reports.set(job.id, forgottenSaid(job, found));
  }
}

function reportOrError(said: unknown): Report | SluiceError {
  if (!AGENT_JOB.Check(said)) return invalid('its fields are not those of the protocol');
  try {
    return reportOf(said);
  } catch (error) {
    if (error instanceof SluiceError) return error;
    throw error;
  }
}

/** Tells why: an agent whose spool was replaced knows none of the tokens of before. */
function forgottenSaid(job: KnownByToken, report: Report): Report {
  if (report.kind !== 'unknown' || report.message !== null) return report;
  const since = job.store_id === null ? '' : ' (its records were replaced or cleared up)';
  return { kind: 'unknown', message: `the host does not know the job${since}` };
}

function rangeOf(reply: LogsReply, offset: number, limit: number): LogRange {
  const data = Buffer.from(reply.data, reply.encoding === 'base64' ? 'base64' : 'utf8');
  const from = reply.offset ?? offset;
  if (data.length > limit || from < offset || reply.next !== from + data.length)
    throw invalid('not the range asked for');
  return { data, next: reply.next, eof: reply.eof };
}

const idOf = (job: KnownByToken) => job.agent_job_id ?? launchToken(job);

const isNotFound = (error: SluiceError) => error.fields.http_status === 404;
