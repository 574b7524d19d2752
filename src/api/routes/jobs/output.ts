/**
 * A range of an attempt's output: from the host while it has it, else from the tail that is kept with an attempt that
 * is over. A range that begins later than was asked for says so; it is never passed off as the whole.
 */
import type { AgentPort } from '../../../job/agent-port.ts';
import { asOfAttempt } from '../../../job/attempts.ts';
import { hasCode, SluiceError } from '../../../job/errors.ts';
import type { Job } from '../../../job/record.ts';
import { isOver } from '../../../job/states.ts';
import type { HostStore } from '../../../store/hosts.ts';
import type { JobStore } from '../../../store/jobs.ts';
import type { Calling } from '../../calling.ts';

export interface Wanted {
  stream: 'stdout' | 'stderr';
  offset: number;
  limit: number;
  attempt: number;
}

export interface OutputRange {
  data: Buffer;
  /** Where `data` begins; later than asked for where the bytes before it are gone. */
  offset: number;
  next: number;
  /** There is nothing after `next`, and there will not be. */
  complete: boolean;
  /** From the kept tail. */
  kept: boolean;
}

export interface OutputDeps {
  jobs: Pick<JobStore, 'tails'>;
  hosts: Pick<HostStore, 'get'>;
  agents: Pick<AgentPort, 'read'>;
  calling: Calling;
}

/** @throws SluiceError output_gone, and what a request to a host rejects with */
export type ReadOutput = (job: Job, wanted: Wanted) => Promise<OutputRange>;

export function createReadOutput({ jobs, hosts, agents, calling }: OutputDeps): ReadOutput {
  return async (now, wanted) => {
    const job = asOfAttempt(now, wanted.attempt);
    if (job.started_by === null) return nothingYet(job, wanted);
    try {
      return await fromHost(job, wanted);
    } catch (error) {
      if (!(error instanceof SluiceError)) throw error;
      if (hasCode(error, 'output_gone') && isBeforeStart(job)) return nothingYet(job, wanted);
      const kept = await fromTail(job, wanted, now);
      if (kept) return kept;
      throw error;
    }
  };

  async function fromHost(job: Job, wanted: Wanted): Promise<OutputRange> {
    const host = await hosts.get(job.host);
    if (!host) throw new SluiceError('output_gone', `the host ${job.host} is no longer registered`);
    const { data, next, eof } = await calling.call(host, (dial) => agents.read(dial, job, wanted));
    // An agent's "end" is where it is now; only a job that is over will not write more.
    return { data, offset: next - data.length, next, complete: eof && isOver(job.state), kept: false };
  }

  async function fromTail(job: Job, wanted: Wanted, now: Job): Promise<OutputRange | null> {
    const { stream, offset, limit, attempt } = wanted;
    if (!isOver(job.state) || attempt !== job.attempt) return null;
    const tails = await jobs.tails(job.id, attempt === now.attempt ? null : attempt);
    if (!tails) return null;
    const tail = tails[stream];
    const total = Math.max(job[`${stream}_bytes`] ?? 0, tail.length);
    const start = total - tail.length;
    const from = Math.max(offset, start);
    const data = tail.subarray(from - start, from - start + limit);
    const next = from + data.length;
    return { data, offset: from, next, complete: next >= total, kept: true };
  }
}

/** It may be on its way to the host, which then does not know it yet. */
function isBeforeStart({ state }: Job): boolean {
  return state === 'queued' || state === 'dispatching';
}

function nothingYet(job: Job, { offset }: Wanted): OutputRange {
  return { data: Buffer.alloc(0), offset, next: offset, complete: isOver(job.state), kept: false };
}
