/** A Full agent's words about a job, as the report that `settle.ts` understands. Pure. */
import { PROOFS, type Proof } from '../../job/outcome.ts';
import type { Report, ReportedOutput } from '../../job/report.ts';
import type { AgentJob } from '../../protocol/agent.ts';
import { brief, invalid, timeOf } from './reply.ts';

/** @throws SluiceError agent_reply_invalid for a state that this protocol does not have */
export function reportOf(job: AgentJob): Report {
  const message = job.message ? brief(job.message) : null;
  switch (job.state) {
    case 'accepted':
    case 'running':
      return {
        kind: 'running',
        started_at: timeOf(job.started_at),
        attach_command: job.attach_command ? brief(job.attach_command) : null,
        ...outputOf(job),
      };
    case 'ended':
    case 'lost':
      return overReport(job, message);
    case 'unknown':
      return { kind: 'unknown', message };
    default:
      throw invalid('a job without a known state');
  }
}

function overReport(job: AgentJob, message: string | null): Report {
  const { reason } = job;
  if (reason === 'never_ran') return { kind: 'never_ran', message };
  if (reason === 'reboot') return { kind: 'vanished', reason, message };
  // A newer agent's reason that is not known here: it is over, and how is not understood.
  if (job.state === 'lost' || !isEnd(reason)) return { kind: 'vanished', reason: 'exit_unknown', message };
  return {
    kind: 'ended',
    reason,
    return_code: reason === 'timeout' ? null : (job.return_code ?? null),
    signal: job.signal ? brief(job.signal, 16) : null,
    message,
    started_at: timeOf(job.started_at),
    ended_at: timeOf(job.ended_at),
    proof: isProof(job.proof) ? job.proof : null,
    remaining_pids: (job.remaining_pids ?? []).slice(0, 1000),
    leftover_processes: job.leftover_processes ?? null,
    ...outputOf(job),
  };
}

type End = (Report & { kind: 'ended' })['reason'];
const ENDS: readonly string[] = ['exit', 'signal', 'timeout', 'canceled', 'spawn_error'] satisfies End[];
const isEnd = (word: string | null | undefined): word is End => ENDS.includes(word ?? '');
const isProof = (word: string | null | undefined): word is Proof =>
  (PROOFS as readonly string[]).includes(word ?? '');

function outputOf(job: AgentJob): ReportedOutput {
  return {
    stdout_bytes: job.stdout_bytes ?? null,
    stderr_bytes: job.stderr_bytes ?? null,
    stdout_sha256: job.stdout_sha256 ?? null,
    stderr_sha256: job.stderr_sha256 ?? null,
    stdout_tail: tailOf(job.stdout, job.stdout_encoding),
    stderr_tail: tailOf(job.stderr, job.stderr_encoding),
  };
}

/** A reply that carries output carries all of it, or its end. */
function tailOf(text: string | null | undefined, encoding: 'base64' | null | undefined): Buffer | null {
  if (text === null || text === undefined) return null;
  return Buffer.from(text, encoding === 'base64' ? 'base64' : 'utf8');
}
