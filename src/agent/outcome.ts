/**
 * What became of a job: made from the supervisor's record (`exit`), and from the inner process's (`u/rc`, `u/note`,
 * `u/fail`) where the supervisor could not see it. The inner one belongs to the job's user: it can only ever say
 * something about this user's own command.
 */
import { constants } from 'node:os';
import { join } from 'node:path';
import { readHostileFile } from './output.ts';

export interface Outcome {
  state: 'ended' | 'lost';
  /** `exit`, `signal`, `timeout`, `canceled`, `spawn_error`, `never_ran`, `reboot`, `exit_unknown`. */
  reason: string;
  returnCode: number | null;
  /** The signal's name without SIG. */
  signal: string | null;
  message: string | null;
  startedAt: string | null;
  endedAt: string;
  stdoutBytes: number;
  stderrBytes: number;
  stdoutSha256: string | null;
  stderrSha256: string | null;
  /** Not all of the output was kept. */
  truncated?: boolean;
  proof: 'cgroup' | 'group+marker' | 'none';
  remainingPids: number[];
  leftoverProcesses: number;
}

/** How it ended, without when and how much it wrote. */
export type Verdict = Omit<
  Outcome,
  'startedAt' | 'endedAt' | 'stdoutBytes' | 'stderrBytes' | 'stdoutSha256' | 'stderrSha256' | 'truncated'
>;

export interface ExitRecord {
  /** Null where the supervisor did not see the code. */
  code: number | null;
  reason: string;
  proof: 'cgroup' | 'group+marker';
  /** The first of the processes that are left, and how many there are. */
  left: number[];
  count: number;
}

const EXIT =
  /^code=(\d*|lost)\nreason=(\w+)\nproof=(cgroup|group\+marker)\nleft=([\d ]*)\ncount=(\d+)\nend\n/;

/** @returns null where the record is not whole: then the job is not over */
export function parseExit(text: string): ExitRecord | null {
  const match = EXIT.exec(text);
  if (!match) return null;
  return {
    code: /^\d+$/.test(match[1]!) ? Number(match[1]) : null,
    reason: match[2]!,
    proof: match[3] as ExitRecord['proof'],
    left: match[4]!.split(' ').filter(Boolean).map(Number),
    count: Number(match[5]),
  };
}

export function judge(exit: ExitRecord, jobDir: string): Verdict {
  const tree = {
    proof: exit.proof,
    remainingPids: isStop(exit.reason) ? exit.left : [],
    leftoverProcesses: exit.count,
  };
  const nothing = { state: 'ended' as const, returnCode: null, signal: null, message: null, ...tree };
  if (exit.reason === 'timeout') return { ...nothing, reason: 'timeout' };
  if (exit.reason === 'never_ran' || exit.reason === 'no_room')
    return { ...nothing, reason: 'never_ran', message: WHY_NEVER[exit.reason] };
  const failure = readHostileFile(join(jobDir, 'u/fail'), 4096);
  if (exit.reason !== 'canceled' && failure !== null) {
    return { ...nothing, reason: 'spawn_error', message: failure.trim() };
  }
  if (exit.reason === 'spawn_error')
    return { ...nothing, reason: 'spawn_error', message: whySessionFailed(jobDir) };
  const code = exit.code ?? recordedCode(jobDir);
  if (code === null && exit.reason !== 'canceled') {
    return {
      ...nothing,
      state: 'lost',
      reason: 'exit_unknown',
      message: 'nobody is left who saw how it ended',
    };
  }
  const signal = code === null ? null : signalOf(code, jobDir);
  const reason = exit.reason === 'canceled' ? 'canceled' : signal === null ? 'exit' : 'signal';
  return { ...nothing, reason, returnCode: code, signal };
}

/** The code as the inner process wrote it down; null where it did not come to that. */
export function recordedCode(jobDir: string): number | null {
  const text = readHostileFile(join(jobDir, 'u/rc'), 16);
  return text !== null && /^\d{1,3}\n+$/.test(text) ? Number(text.trim()) : null;
}

const WHY_NEVER = {
  never_ran: 'it was never started',
  no_room: 'it was never started: the disk of the spool had no room to write its start down',
};

const isStop = (reason: string) => reason === 'canceled' || reason === 'timeout';

/**
 * 128+n may be a signal or the command's own `exit`. sh tells them apart in words only, which `u/note` keeps; about
 * SIGINT and SIGPIPE it says nothing. An inner process that did not even write the code was killed itself.
 */
function signalOf(code: number, jobDir: string): string | null {
  const name = code > 128 ? SIGNAL_NAMES.get(code - 128) : undefined;
  if (name === undefined) return null;
  if (name === 'INT' || name === 'PIPE' || recordedCode(jobDir) === null) return name;
  return readHostileFile(join(jobDir, 'u/note'), 4096)?.trim() ? name : null;
}

const SIGNAL_NAMES = new Map(
  Object.entries(constants.signals)
    .filter(([name]) => !['SIGIOT', 'SIGPOLL', 'SIGUNUSED', 'SIGCLD'].includes(name))
    .map(([name, number]) => [number, name.slice(3)]),
);

function whySessionFailed(jobDir: string): string {
  const said = readHostileFile(join(jobDir, 'err.log'), 4096)?.trim();
  return said ? `the session could not be opened: ${said}` : 'the session could not be opened';
}
