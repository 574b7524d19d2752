/**
 * Asking one host about its jobs: one round of a poll. Delivers what cancels are owed, asks about the jobs that
 * are due, commits what the host says, and sets the time of each job's next question.
 */
import type { AgentPort } from '../../job/agent-port.ts';
import { SluiceError } from '../../job/errors.ts';
import { rateOf } from '../../job/host.ts';
import { inTurn, LOST_PAUSE_MS, pauseMs } from '../../job/pace.ts';
import type { Job } from '../../job/record.ts';
import type { Report } from '../../job/report.ts';
import type { Budget } from '../../store/budget.ts';
import type { Followed } from '../../store/followed.ts';
import type { InSlot } from '../../store/in-slot.ts';
import type { JobStore } from '../../store/jobs.ts';
import type { Commit } from '../commit.ts';
import type { Contact, Target } from '../contact.ts';
import type { Overtime } from './overtime.ts';
import type { Silence } from './silence.ts';

/** Jobs asked about in one go: one request on Full agents, one request each on Base. */
const BATCH = { full: 200, base: 20 };
/** How long one round of questions within a budget may last, in ms: then jobs that came meanwhile have their turn. */
const ROUND_MS = 2_000;
/** After a slot was not to be had. */
const BUSY_PAUSE_MS = 200;

export type Ask = (target: Target, due: Job[]) => Promise<void>;

export function createAsk(deps: {
  jobs: Pick<JobStore, 'now'>;
  followed: Pick<Followed, 'askAt'>;
  inSlot: InSlot;
  budget: Pick<Budget, 'tokens'>;
  agents: Pick<AgentPort, 'ask'>;
  contact: Pick<Contact, 'attempt' | 'facts'>;
  commit: Commit;
  overtime: Overtime;
  silence: Silence;
}): Ask {
  const { jobs, followed, inSlot, budget, agents, contact, commit, overtime, silence } = deps;

  return async (target, due) => {
    for await (const batch of batches(target, due)) {
      const answered = await askBatch(target, batch);
      if (!answered) return;
    }
  };

  /** Full agents take many jobs in one request. Base agents cost one each, of which a budget may not allow all. */
  async function* batches(target: Target, due: Job[]): AsyncGenerator<Job[]> {
    const { full = [], base = [] } = Object.groupBy(due, (job) =>
      job.started_by === 'full' ? 'full' : 'base',
    );
    for (let i = 0; i < full.length; i += BATCH.full) yield full.slice(i, i + BATCH.full);
    const rate = rateOf(target.config, target.health.agent);
    const order = rate === null ? base : inTurn(base);
    const end = performance.now() + ROUND_MS;
    while (order.length > 0 && (rate === null || performance.now() < end)) {
      const affordable = (await budget.tokens(target.name, rate)) ?? BATCH.base;
      yield order.splice(0, Math.min(Math.max(affordable, 1), BATCH.base));
    }
    // What is left stays due: the next round begins with who is youngest then.
  }

  /** @returns false if the host should not be asked further now */
  async function askBatch(target: Target, batch: Job[]): Promise<boolean> {
    try {
      await inSlot(target.config, { patienceMs: 0 }, () => askAndSettle(target, batch));
      return true;
    } catch (error) {
      if (!(error instanceof SluiceError)) throw error;
      if (error.code === 'host_busy') await putOff(target.name, batch, BUSY_PAUSE_MS);
      else await notAnswered(target, batch, error);
      return false;
    }
  }

  async function notAnswered(target: Target, batch: Job[], error: SluiceError): Promise<void> {
    const { silent, pauseMs } = await silence.ofHost(target, batch);
    await putOff(target.name, batch, pauseMs);
    if (silent || error.code === 'agent_busy') return;
    // It answers, but not to this question: another agent lives there than the one that started these jobs.
    for (const job of batch) await unanswered(target, job, error);
  }

  async function askAndSettle(target: Target, batch: Job[]): Promise<void> {
    if (target.health.failures > 0 || !target.health.agent) await contact.facts(target, { fresh: true });
    const { reports, errors } = await contact.attempt(target, 'status', (dial) => agents.ask(dial, batch));
    for (const job of batch) {
      const report = reports.get(job.id);
      const error = errors.get(job.id);
      if (report) await settleOne(target, job, report);
      else if (error && error.code !== 'host_busy') await unanswered(target, job, error);
      else await putOff(target.name, [job], BUSY_PAUSE_MS);
    }
  }

  async function settleOne(target: Target, job: Job, report: Report): Promise<void> {
    const moved = (await overtime.stop(target, job, report)) ?? (await commit(target, job, report));
    const now = await jobs.now();
    const next = moved || job;
    await followed.askAt(target.name, new Map([[job.id, now + pauseOf(next, now)]]));
  }

  /** The host answers, but not about this job: a reply that its agent cannot make. */
  async function unanswered(target: Target, job: Job, error: SluiceError): Promise<void> {
    const pauseMs = job.poll_interval * 1_000;
    await silence.ofJob(job, error, pauseMs);
    await putOff(target.name, [job], pauseMs);
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
