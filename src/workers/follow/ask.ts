/**
 * Asking one host about its jobs: one round of a poll. Delivers what cancels are owed, asks about the jobs that
 * are due, commits what the host says, and sets the time of each job's next question.
 */
import type { AgentPort } from '../../job/agent-port.ts';
import { SluiceError } from '../../job/errors.ts';
import { rateOf } from '../../job/host.ts';
import { inTurn, LOST_PAUSE_MS, nextQuestionAt, pauseMs } from '../../job/pace.ts';
import type { Job } from '../../job/record.ts';
import type { Report } from '../../job/report.ts';
import type { Budget } from '../../store/budget.ts';
import type { Followed } from '../../store/followed.ts';
import type { RunningJob } from '../../store/jobs/glance.ts';
import type { JobStore } from '../../store/jobs.ts';
import type { InSlot } from '../../store/slots/in-slot.ts';
import type { Commit } from '../commit.ts';
import type { Contact, Target } from '../contact.ts';
import type { Overtime } from './overtime.ts';
import type { AskRunning } from './running.ts';
import type { Unanswered } from './unanswered.ts';

/** Jobs asked about in one go: one request on Full agents, one request each on Base. */
const BATCH = { running: 500, full: 200, base: 20 };
/** How long one round of questions within a budget may last, in ms: then jobs that came meanwhile have their turn. */
const ROUND_MS = 2_000;
/** A pause of a job that costs a request of its own has so many points at least at which it may end. */
const PARTS = 4;

export type Ask = (target: Target, due: { running: RunningJob[]; others: Job[] }) => Promise<void>;

export function createAsk(deps: {
  jobs: Pick<JobStore, 'now'>;
  followed: Pick<Followed, 'askAt'>;
  inSlot: InSlot;
  budget: Pick<Budget, 'tokens'>;
  agents: Pick<AgentPort, 'ask'>;
  contact: Pick<Contact, 'attempt' | 'facts'>;
  commit: Commit;
  overtime: Overtime;
  unanswered: Unanswered;
  askRunning: AskRunning;
}): Ask {
  const { jobs, followed, inSlot, budget, agents, contact, commit, overtime, unanswered, askRunning } = deps;

  return async (target, { running, others }) => {
    const unasked = new Set([...running, ...others].map(({ id }) => id));
    for (let i = 0; i < running.length; i += BATCH.running) {
      const batch = running.slice(i, i + BATCH.running);
      if (!(await askBatch(target, batch, unasked, () => askRunning(target, batch)))) return;
    }
    for await (const batch of batches(target, others)) {
      if (!(await askBatch(target, batch, unasked, () => askAndSettle(target, batch)))) return;
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

  /**
   * @param unasked what is still to be asked in this round; the batch is taken out of it
   * @returns false if the host should not be asked further now
   */
  async function askBatch(
    target: Target,
    batch: { id: string }[],
    unasked: Set<string>,
    question: () => Promise<void>,
  ): Promise<boolean> {
    let hasSlot = false;
    try {
      await inSlot(target.config, { patienceMs: 0 }, async () => {
        hasSlot = true;
        if (target.health.failures > 0 || !target.health.agent) await contact.facts(target, { fresh: true });
        await question();
      });
      for (const { id } of batch) unasked.delete(id);
      return true;
    } catch (error) {
      if (!(error instanceof SluiceError)) throw error;
      const ids = batch.map(({ id }) => id);
      // Everything that is due, not this batch only: the rest, due at once again, would find no token either.
      if (hasSlot && error.code === 'host_busy') await unanswered.outOfBudget(target, [...unasked], error);
      else await unanswered.whole(target, ids, error);
      return false;
    }
  }

  async function askAndSettle(target: Target, batch: Job[]): Promise<void> {
    const { reports, errors } = await contact.attempt(target, 'status', (dial) => agents.ask(dial, batch));
    for (const job of batch) {
      const report = reports.get(job.id);
      const error = errors.get(job.id);
      if (report) await settleOne(target, job, report);
      else if (error) await unanswered.one(target, job, error);
      else await unanswered.notAsked(target, [job.id]);
    }
  }

  async function settleOne(target: Target, job: Job, report: Report): Promise<void> {
    const moved = (await overtime.stop(target, job, report)) ?? (await commit(target, job, report));
    const now = await jobs.now();
    const pause = pauseOf(moved || job, now);
    const at = nextQuestionAt(now, pause, target.name, job.started_by === 'full' ? 1 : PARTS);
    await followed.askAt(target.name, new Map([[job.id, at]]));
  }
}

/** The pause before the next question about a job. */
export function pauseOf(job: Job, now: number): number {
  if (job.state === 'lost') return LOST_PAUSE_MS;
  if (job.state === 'canceling') return 1_000;
  const began = job.dispatched_at ?? job.created_at;
  return pauseMs(now - began, job.poll_interval);
}
