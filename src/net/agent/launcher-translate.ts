/** The launcher's words about a job, as the report that `settle.ts` understands. Pure. */
import { NO_OUTPUT, type Report, type ReportedOutput } from '../../job/report.ts';
import type { LauncherOutput, LauncherReport } from '../../protocol/launcher-report.ts';

/** Null for the words that are no answer about a job. */
export function translated(said: LauncherReport): Report | null {
  switch (said.kind) {
    case 'running':
      return {
        kind: 'running',
        started_at: said.startedAt,
        attach_command: null,
        ...outputOf(said),
      };
    case 'ended':
      // What a timeout could not kill is left over as well.
      return endedReport(
        said,
        said.reason,
        said.reason === 'timeout' ? said.remaining.length : said.leftovers,
        null,
      );
    case 'canceled':
      return endedReport(
        said,
        'canceled',
        said.beforeStart ? null : said.remaining.length,
        said.beforeStart ? 'canceled before it was started' : null,
      );
    case 'exit_unknown':
    case 'reboot':
      return { kind: 'vanished', reason: said.kind, message: null };
    case 'never_ran':
      return { kind: 'never_ran', message: 'the launcher ended before the command began' };
    case 'unknown':
      return { kind: 'unknown', message: null };
    case 'refused':
      return refusedReport(said.why);
    case 'usable':
    case 'range':
      return null;
  }
}

type Over = Extract<LauncherReport, { kind: 'ended' | 'canceled' }>;

function endedReport(
  said: Over,
  reason: 'exit' | 'signal' | 'timeout' | 'canceled',
  leftovers: number | null,
  message: string | null,
): Report {
  return {
    kind: 'ended',
    reason,
    return_code: reason === 'timeout' ? null : said.code,
    signal: reason === 'exit' ? null : said.signal,
    message,
    started_at: said.startedAt,
    ended_at: said.endedAt,
    proof: said.proof ?? 'none',
    remaining_pids: said.remaining,
    leftover_processes: leftovers,
    ...outputOf(said),
  };
}

/**
 * A start that was refused for its field began nothing. One whose directory is gone proves nothing about an
 * earlier start with the same token: its latch would have been in there.
 */
function refusedReport(why: string): Report {
  if (why === 'dir_not_writable') {
    return { kind: 'never_ran', message: "the launcher's directory on the host cannot be written" };
  }
  if (why !== 'workdir' && why !== 'shell') {
    return { kind: 'unknown', message: `the launcher's directory on the host cannot be used (${why})` };
  }
  const message = why === 'workdir' ? 'the working directory cannot be entered' : 'the shell does not exist';
  return {
    kind: 'ended',
    reason: 'spawn_error',
    return_code: null,
    signal: null,
    message,
    started_at: null,
    ended_at: null,
    proof: null,
    remaining_pids: [],
    leftover_processes: null,
    ...NO_OUTPUT,
  };
}

function outputOf(said: LauncherOutput): ReportedOutput {
  return {
    stdout_bytes: said.stdoutBytes,
    stderr_bytes: said.stderrBytes,
    stdout_tail: said.stdoutTail,
    stderr_tail: said.stderrTail,
  };
}
