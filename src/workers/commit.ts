/**
 * Committing what a host reports: the decision of `job/settle.ts`, with the ends of the output fetched before a
 * job is over, because afterwards the host may be gone.
 */
import type { Logger } from 'pino';
import type { AgentPort } from '../job/agent-port.ts';
import type { Change, SyncOutput } from '../job/move.ts';
import type { Job, JobProgress, Tails } from '../job/record.ts';
import { grown, type Report, type ReportedOutput } from '../job/report.ts';
import { settle } from '../job/settle.ts';
import { isOver } from '../job/states.ts';
import type { JobStore } from '../store/jobs.ts';
import type { Contact, Target } from './contact.ts';
import { outputPrint } from './output-print.ts';

/** Kept of each stream with every job that is over. */
const TAIL_BYTES = 8 * 1024;
/** Kept of each stream of a `sync` job, for an hour. */
const OUTPUT_BYTES = 64 * 1024;

/** @returns the job after the move; null if the report changes nothing; false if somebody else moved it */
export type Commit = (
  target: Target,
  job: Job,
  report: Report,
  extra?: Partial<Pick<JobProgress, 'agent_job_id'>>,
) => Promise<Job | null | false>;

export function createCommit(deps: {
  jobs: Pick<JobStore, 'transition' | 'noteGrowth' | 'now'>;
  agents: Pick<AgentPort, 'read'>;
  contact: Pick<Contact, 'attempt'>;
  /** A job came under way on a host: it must be asked about. */
  onFollowed: (job: Job) => void;
  /** A job waits for its host again: who starts it must look when. */
  onPutBack: (host: string) => void;
  log: Logger;
}): Commit {
  const { jobs, agents, contact, onFollowed, onPutBack, log } = deps;

  return async (target, job, report, extra = {}) => {
    const moment = { now: await jobs.now(), skewMs: target.health.agent?.clock_skew_ms ?? 0 };
    const move = settle({ ...job, ...extra }, report, moment);
    if (!move) {
      // No change of its state, but what callers look at.
      await jobs.noteGrowth(grown(job, report));
      return null;
    }
    // The move comes last: a next attempt has not got the id of the one that ended.
    const change: Change = { ...extra, ...move.change };
    if (report.kind === 'ended') {
      const { output, ...tails } = await kept(target, { ...job, ...extra }, report);
      Object.assign(change, tails, isOver(move.to) && output && { output });
      if (job.batch_id !== null && tails.tails) change.output_print = outputPrint(report, tails.tails);
    }
    const moved = await jobs.transition(job, job.state, move.to as never, change);
    const fields = { job: job.id, host: job.host, from: job.state, to: move.to, why: change.why };
    if (!moved) {
      log.info(fields, 'job.moved_by_another');
      return false;
    }
    log.info({ ...fields, version: moved.version }, 'job.moved');
    if (moved.state === 'running' && job.state === 'dispatching') onFollowed(moved);
    if (moved.state === 'queued') onPutBack(moved.host);
    return moved;
  };

  /** The ends of the output, from the report where it carries them, else from the host. */
  async function kept(
    target: Target,
    job: Job,
    report: ReportedOutput,
  ): Promise<{ tails?: Tails; output?: SyncOutput }> {
    try {
      const tails = await ends(target, job, report);
      if (job.mode !== 'sync') return tails;
      const stdout = await head(target, job, 'stdout', report.stdout_bytes, report.stdout_tail);
      const stderr = await head(target, job, 'stderr', report.stderr_bytes, report.stderr_tail);
      const truncated = isCut(stdout, report.stdout_bytes) || isCut(stderr, report.stderr_bytes);
      return { ...tails, output: { stdout, stderr, truncated } };
    } catch (error) {
      // The end is known; that its output cannot be had now must not hold it back.
      log.warn({ job: job.id, host: job.host, err: error }, 'job.output_not_kept');
      return {};
    }
  }

  /** None rather than a wrong one: where a stream's size is not known, what could be read is its beginning. */
  async function ends(target: Target, job: Job, report: ReportedOutput): Promise<{ tails?: Tails }> {
    const { stdout_bytes, stdout_tail, stderr_bytes, stderr_tail } = report;
    if ((stdout_bytes === null && !stdout_tail) || (stderr_bytes === null && !stderr_tail)) return {};
    const stdout = await tail(target, job, 'stdout', stdout_bytes, stdout_tail);
    const stderr = await tail(target, job, 'stderr', stderr_bytes, stderr_tail);
    return { tails: { stdout, stderr } };
  }

  async function tail(
    target: Target,
    job: Job,
    stream: 'stdout' | 'stderr',
    bytes: number | null,
    known: Buffer | null,
  ): Promise<Buffer> {
    if (known && (known.length >= TAIL_BYTES || known.length >= (bytes ?? 0)))
      return known.subarray(-TAIL_BYTES);
    if (bytes === 0) return Buffer.alloc(0);
    return read(target, job, stream, Math.max(0, (bytes ?? 0) - TAIL_BYTES), TAIL_BYTES);
  }

  async function head(
    target: Target,
    job: Job,
    stream: 'stdout' | 'stderr',
    bytes: number | null,
    known: Buffer | null,
  ): Promise<Buffer> {
    if (known && known.length >= (bytes ?? 0)) return known.subarray(0, OUTPUT_BYTES);
    if (bytes === 0) return Buffer.alloc(0);
    return read(target, job, stream, 0, OUTPUT_BYTES);
  }

  async function read(
    target: Target,
    job: Job,
    stream: 'stdout' | 'stderr',
    offset: number,
    limit: number,
  ): Promise<Buffer> {
    const range = { stream, offset, limit, attempt: job.attempt };
    return (await contact.attempt(target, 'logs', (dial) => agents.read(dial, job, range))).data;
  }
}

function isCut(head: Buffer, bytes: number | null): boolean {
  return bytes === null ? head.length >= OUTPUT_BYTES : head.length < bytes;
}
