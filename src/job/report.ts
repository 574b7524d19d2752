/**
 * What a host says about one job, whatever kind of agent said it: the drivers in `net/` translate every
 * agent's words into this, `settle.ts` decides what it means. Times are the host's, uncorrected, in ms.
 */
import type { Proof } from './outcome.ts';
import type { Job } from './record.ts';

export interface ReportedOutput {
  stdout_bytes: number | null;
  stderr_bytes: number | null;
  /** The last bytes of each stream, where the report carried them (8 KiB and more). */
  stdout_tail: Buffer | null;
  stderr_tail: Buffer | null;
  /** SHA-256 of each whole stream in hex, where the host has counted it. */
  stdout_sha256?: string | null;
  stderr_sha256?: string | null;
}

export type Report =
  | ({
      kind: 'running';
      started_at: number | null;
      attach_command: string | null;
    } & ReportedOutput)
  | ({
      kind: 'ended';
      reason: 'exit' | 'signal' | 'timeout' | 'canceled' | 'spawn_error';
      return_code: number | null;
      signal: string | null;
      message: string | null;
      started_at: number | null;
      ended_at: number | null;
      proof: Proof | null;
      /** Processes that a cancel or timeout could not kill. */
      remaining_pids: number[];
      leftover_processes: number | null;
    } & ReportedOutput)
  /** Certified: the command never began, and will not under this token unless it is sent again. */
  | { kind: 'never_ran'; message: string | null }
  /** It began, and nobody recorded how it ended. */
  | { kind: 'vanished'; reason: 'reboot' | 'exit_unknown'; message: string | null }
  /** The host does not know the token. */
  | { kind: 'unknown'; message: string | null };

/** No output known. */
export const NO_OUTPUT: ReportedOutput = {
  stdout_bytes: null,
  stderr_bytes: null,
  stdout_tail: null,
  stderr_tail: null,
};

/** It runs, and nothing more is known of it. */
export const RUNNING: Report = { kind: 'running', started_at: null, attach_command: null, ...NO_OUTPUT };

/** How much a job has written that runs on, if it is more than at the last look: none or one. */
export function grown(
  job: Pick<Job, 'id' | 'version' | 'stdout_bytes' | 'stderr_bytes'>,
  report: Report | undefined,
) {
  if (report?.kind !== 'running') return [];
  const stdout_bytes = report.stdout_bytes ?? job.stdout_bytes;
  const stderr_bytes = report.stderr_bytes ?? job.stderr_bytes;
  const isSame = stdout_bytes === job.stdout_bytes && stderr_bytes === job.stderr_bytes;
  return isSame ? [] : [{ id: job.id, version: job.version, stdout_bytes, stderr_bytes }];
}
