/**
 * The driver for jobs on a Base agent without the launcher: the agent's word is all there is. What it cannot
 * prove stays unproven, and what it would ignore is refused here rather than dropped.
 */
import { setTimeout as pause } from 'node:timers/promises';
import type { DialHost } from '../../job/agent-port.ts';
import { SluiceError } from '../../job/errors.ts';
import { type Job, launchToken } from '../../job/record.ts';
import { type Report, RUNNING } from '../../job/report.ts';
import { askEach, isJustStarted, noAnswers } from './answers.ts';
import { createBaseOutput } from './base-output.ts';
import { baseRun } from './base-run.ts';
import { type BaseStatus, baseStatus } from './base-status.ts';
import type { Driver } from './driver.ts';
import type { Exchange } from './exchange.ts';

/** Between two looks at a job that is unknown, or over without a code: agents write a job's files one by one. */
const SECOND_LOOK_MS = 1_000;

export function createBaseDriver(exchange: Exchange): Driver {
  const readOutput = createBaseOutput(exchange);
  const look = async (host: DialHost, job: Job) => {
    const report = reportOf(await baseStatus(exchange, host, idOf(job)));
    return report.kind === 'unknown' && isJustStarted(job) ? RUNNING : report;
  };

  return {
    async start(host, { job, token, env, secret_env }) {
      refuseWhatItIgnores(job, secret_env);
      const run = { id: token, command: job.command, user: job.job_user, tmux: job.mode === 'tmux', env };
      // On a connection of its own: one that the agent closes at this moment would make the start ambiguous,
      // and here nothing can settle that.
      const started = await baseRun(exchange, host, {
        ...run,
        timeoutSeconds: job.timeout_seconds,
        fresh: true,
      });
      return { ...started, report: RUNNING };
    },

    async ask(host, jobs) {
      const answers = noAnswers();
      const goOn = await askEach(answers, jobs, (job) => look(host, job));
      const doubtful = jobs.filter((job) => isDoubtful(answers.reports.get(job.id)));
      if (doubtful.length === 0) return answers;
      for (const job of doubtful) answers.reports.delete(job.id);
      if (!goOn) return answers;
      await pause(SECOND_LOOK_MS);
      await askEach(answers, doubtful, (job) => look(host, job));
      return answers;
    },

    async cancel(host, job) {
      await exchange.send(host, {
        what: 'cancel',
        method: 'POST',
        path: `/cancel/${encodeURIComponent(idOf(job))}`,
        maxBytes: 65_536,
      });
      const report = await look(host, job);
      // Its own code says that it ended; `cancelled` says only that it was marked.
      return { report, unproven: !(report.kind === 'ended' && report.reason === 'exit') };
    },

    async read(host, job, range) {
      if (range.attempt !== job.attempt) {
        throw new SluiceError('output_gone', 'A Base agent keeps the output of the last attempt only');
      }
      return readOutput(host, idOf(job), range);
    },
  };
}

function reportOf(said: BaseStatus): Report {
  if (said.return_code !== null) return ended('exit', said.return_code, said);
  switch (said.status) {
    case 'unknown':
      return { kind: 'unknown', message: null };
    case 'cancelled':
      return ended('canceled', null, said);
    case 'finished':
    case 'failed':
      return { kind: 'vanished', reason: 'exit_unknown', message: 'the agent says over, and has no code' };
    default:
      return RUNNING;
  }
}

function ended(reason: 'exit' | 'canceled', code: number | null, said: BaseStatus): Report {
  const [stdout, stderr] = [bytesOf(said.stdout), bytesOf(said.stderr)];
  return {
    kind: 'ended',
    reason,
    return_code: code,
    signal: null,
    message: null,
    started_at: null,
    ended_at: null,
    proof: 'none',
    remaining_pids: [],
    leftover_processes: null,
    stdout_bytes: stdout?.length ?? null,
    stderr_bytes: stderr?.length ?? null,
    stdout_tail: stdout,
    stderr_tail: stderr,
  };
}

function refuseWhatItIgnores(job: Job, secretEnv: Record<string, string>): void {
  const ignored =
    (job.shell !== null && 'shell') ||
    (job.workdir !== null && 'workdir') ||
    (Object.keys(secretEnv).length > 0 && 'secret_env');
  if (!ignored) return;
  const detail = `The host's agent has no ${ignored}`;
  throw new SluiceError('agent_rejected', detail, {
    fields: { field: ignored, agent_code: 'field_unsupported' },
  });
}

const isDoubtful = (report: Report | undefined) => report?.kind === 'unknown' || report?.kind === 'vanished';

/** The first generation chooses its own ids; where its reply was lost, ours is the only one to ask for. */
const idOf = (job: Job) => job.agent_job_id ?? launchToken(job);

const bytesOf = (text: string | null) => (text === null ? null : Buffer.from(text));
