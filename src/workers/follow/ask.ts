/**
 * Asking one host about its jobs: one round of a poll. Delivers what cancels are owed, asks about the jobs that
 * are due, commits what the host says, and sets the time of each job's next question.
 */
import { randomUUID } from 'node:crypto';
import type { Logger } from 'pino';
import type { AgentPort } from '../../job/agent-port.ts';
import { SluiceError } from '../../job/errors.ts';
import { LOST_PAUSE_MS, pauseMs } from '../../job/pace.ts';
import type { Job } from '../../job/record.ts';
import { settleSilence } from '../../job/settle.ts';
import type { Followed } from '../../store/followed.ts';
import type { JobStore } from '../../store/jobs.ts';
import type { SlotStore } from '../../store/slots.ts';
import type { Commit } from '../commit.ts';
import type { Contact, Target } from '../contact.ts';
import { LEASE_MS, whileRenewing } from '../renewal.ts';

/** Jobs asked about in one go: one request on Full agents, one request each on Base. */
const BATCH = { full: 200, base: 20 };
/** After a slot was not to be had. */
const BUSY_PAUSE_MS = 200;

export type Ask = (target: Target, due: Job[]) => Promise<void>;

export function createAsk(deps: {
  jobs: Pick<JobStore, 'transition' | 'now'>;
  followed: Pick<Followed, 'askAt'>;
  slots: SlotStore;
  agents: Pick<AgentPort, 'ask'>;
  contact: Pick<Contact, 'attempt' | 'facts' | 'target'>;
  commit: Commit;
  log: Logger;
}): Ask {
  const { jobs, followed, slots, agents, contact, commit, log } = deps;

  return async (target, due) => {
    const size = due.every((job) => job.started_by === 'full') ? BATCH.full : BATCH.base;
    for (let i = 0; i < due.length; i += size) {
      const answered = await askBatch(target, due.slice(i, i + size));
      if (!answered) return;
    }
  };

  /** @returns false if the host should not be asked further now */
  async function askBatch(target: Target, batch: Job[]): Promise<boolean> {
    const holder = randomUUID();
    const { max_requests: max } = target.config;
    if (!(await slots.takeIfFree(target.name, holder, { max, leaseMs: LEASE_MS }))) {
      await putOff(target.name, batch, BUSY_PAUSE_MS);
      return false;
    }
    try {
      if (target.health.failures > 0 || !target.health.agent) await contact.facts(target, { fresh: true });
      const renew = () => slots.renew(target.name, holder, LEASE_MS);
      const { reports } = await whileRenewing(renew, () =>
        contact.attempt(target, 'status', () => agents.ask(target, batch)),
      );
      for (const job of batch) await settleOne(target, job, reports.get(job.id));
      return true;
    } catch (error) {
      if (!(error instanceof SluiceError)) throw error;
      await failed(target, batch);
      return false;
    } finally {
      await slots.release(target.name, holder);
    }
  }

  async function settleOne(
    target: Target,
    job: Job,
    report: Parameters<Commit>[2] | undefined,
  ): Promise<void> {
    const moved = report ? await commit(target, job, report) : null;
    const now = await jobs.now();
    const next = moved || job;
    await followed.askAt(target.name, new Map([[job.id, now + pauseOf(next, now)]]));
  }

  /** The host did not answer: that is not the jobs' fault, but it is said of each. */
  async function failed(target: Target, batch: Job[]): Promise<void> {
    const after = await contact.target(target.name);
    const moment = { now: await jobs.now(), skewMs: 0 };
    const { silent_since, silent_ms, silent_asks, retry_at, status } = after?.health ?? target.health;
    if (status === 'up') {
      // It asked for a pause, or this one question failed.
      await putOff(target.name, batch, Math.max((retry_at ?? 0) - moment.now, 1_000));
      return;
    }
    const silence = { since: silent_since ?? moment.now, silentMs: silent_ms, asks: silent_asks };
    for (const job of batch) {
      const move = settleSilence(job, silence, moment);
      if (!move) continue;
      const moved = await jobs.transition(job, job.state, move.to as never, move.change);
      if (moved) log.warn({ job: job.id, host: job.host, to: move.to, why: move.change.why }, 'job.moved');
    }
    await putOff(target.name, batch, Math.max((retry_at ?? 0) - moment.now, 1_000));
  }

  async function putOff(host: string, batch: Job[], inMs: number): Promise<void> {
    const at = (await jobs.now()) + inMs;
    await followed.askAt(host, new Map(batch.map((job) => [job.id, at])));
  }
}

/** The pause before the next question about a job. */
export function pauseOf(job: Job, now: number): number {
  if (job.state === 'lost') return LOST_PAUSE_MS;
  if (job.state === 'canceling') return 1_000;
  const began = job.dispatched_at ?? job.created_at;
  return pauseMs(now - began, job.poll_interval);
}
