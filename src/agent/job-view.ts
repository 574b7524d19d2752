/** A job as the protocol shows it: Base's five fields in Base's words first, then Full's. */
import type { AgentJob } from '../protocol/agent.ts';
import type { Outputs } from './outputs.ts';
import type { Job } from './registry.ts';

/** Without output: what `POST /status` carries. */
export function jobView(job: Job): AgentJob {
  const { record, outcome } = job;
  const view: AgentJob = {
    job_id: record.job_id,
    status: baseStatus(job),
    return_code: outcome?.returnCode ?? null,
    state: job.state,
    reason: outcome?.reason ?? null,
    signal: outcome?.signal ?? null,
    message: outcome?.message ?? null,
    started_at: job.startedAt,
    ended_at: outcome?.endedAt ?? null,
    attach_command: outcome ? null : record.attach_command,
    ...(job.truncated && { truncated: true }),
  };
  if (!outcome) return view;
  return {
    ...view,
    stdout_bytes: outcome.stdoutBytes,
    stderr_bytes: outcome.stderrBytes,
    stdout_sha256: outcome.stdoutSha256,
    stderr_sha256: outcome.stderrSha256,
    proof: outcome.proof,
    remaining_pids: outcome.remainingPids,
    leftover_processes: outcome.leftoverProcesses,
  };
}

/** With the tail of both streams: what `GET /status/{id}` and a held `/run` carry. */
export async function jobViewWithOutput(
  job: Job,
  outputs: Pick<Outputs, 'size' | 'tail'>,
): Promise<AgentJob> {
  const stdoutBytes = outputs.size(job, 'stdout');
  const stderrBytes = outputs.size(job, 'stderr');
  const stdout = await outputs.tail(job, 'stdout');
  const stderr = await outputs.tail(job, 'stderr');
  const { job_id, status, return_code, ...rest } = jobView(job);
  return {
    job_id,
    status,
    return_code: return_code ?? null,
    stdout: stdout.data,
    stderr: stderr.data,
    ...(stdout.encoding && { stdout_encoding: stdout.encoding }),
    ...(stderr.encoding && { stderr_encoding: stderr.encoding }),
    ...rest,
    stdout_bytes: stdoutBytes,
    stderr_bytes: stderrBytes,
  };
}

export function unknownJob(id: string): AgentJob {
  return { job_id: id, status: 'unknown', return_code: null, state: 'unknown' };
}

/** Base's words. `finished` says only that the command ended by itself. */
function baseStatus(job: Job): string {
  if (job.state === 'accepted') return 'starting';
  if (!job.outcome) return 'running';
  if (job.outcome.reason === 'canceled') return 'cancelled';
  return job.outcome.reason === 'exit' || job.outcome.reason === 'signal' ? 'finished' : 'failed';
}
