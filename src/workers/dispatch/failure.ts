/**
 * What a failed start means for its job. The question is always whether the host may have acted: if not, the job
 * waits again under the same token; if so, it stays `dispatching` until the host has said what happened.
 */
import type { Logger } from 'pino';
import type { AgentPort } from '../../job/agent-port.ts';
import { nextAttempt } from '../../job/attempts.ts';
import { pauseAskedMs } from '../../job/circuit.ts';
import { SluiceError } from '../../job/errors.ts';
import { pauseLeftMs } from '../../job/host.ts';
import { outcome } from '../../job/outcome.ts';
import { LOST_PAUSE_MS } from '../../job/pace.ts';
import type { Job } from '../../job/record.ts';
import { withAdvice } from '../../job/remedies.ts';
import { MAX_ATTEMPTS } from '../../job/retry.ts';
import type { JobStore } from '../../store/jobs.ts';
import type { Commit } from '../commit.ts';
import type { Contact, Target } from '../contact.ts';
import type { PutBack } from './put-back.ts';
import type { KeepFromStarting } from './tombstone.ts';

/** The pause before the same start is sent again after a lost reply, in ms. */
const SOON_MS = 250;
/** After a start that found another store than the `/ping` before it. */
const STORE_CHANGED_MS = 1_000;
/** The longest such pause: on a host whose every start fails, while its pings do not. */
const LONGEST_MS = 60_000;
/** How long an agent that only fails to answer is asked about a start that must not be repeated, in ms. */
const ASKED_MS = 60_000;

type Next = { againInMs: number | null };

export interface StartFailure {
  /** Nothing of this attempt was sent. */
  beforeSending(target: Target, job: Job, error: unknown): Promise<Next>;
  /** The first request of this token failed. */
  onFirst(target: Target, job: Job, error: SluiceError): Promise<Next>;
  /** The same start, sent again, failed. */
  onRepeated(target: Target, job: Job, error: SluiceError): Promise<Next>;
  /** A question failed on whose answer it depends whether the start is sent again. */
  unanswered(target: Target, job: Job, error: unknown): Promise<Next>;
  /** The agent would start it a second time (Base without launcher): ask, then give up or try anew. */
  cannotBeRepeated(target: Target, job: Job): Promise<Next>;
  /** Nobody on the host can say whether it started: give up, or try anew. */
  cannotBeSettled(job: Job): Promise<Next>;
}

export function createStartFailure(deps: {
  jobs: Pick<JobStore, 'transition' | 'now'>;
  agents: Pick<AgentPort, 'ask'>;
  contact: Pick<Contact, 'attempt' | 'facts'>;
  commit: Commit;
  keepFromStarting: KeepFromStarting;
  putBack: PutBack;
  log: Logger;
}): StartFailure {
  const { jobs, agents, contact, commit, keepFromStarting, putBack, log } = deps;

  async function onFirst(target: Target, job: Job, error: SluiceError): Promise<Next> {
    switch (error.code) {
      case 'agent_rejected':
        return rejected(job, error.message);
      case 'agent_canceled_before_start':
        await jobs.transition(job, 'dispatching', 'canceled', {
          outcome: outcome('canceled', { message: error.message }),
          why: 'canceled on the host before it was started',
        });
        return { againInMs: null };
      case 'agent_store_changed':
        await contact.facts(target, { fresh: true }).catch(() => undefined);
        return requeue(job, STORE_CHANGED_MS, error);
      default:
        return error.retry === 'safe'
          ? requeue(job, pauseMs(target, error), error)
          : ambiguous(target, job, error);
    }
  }

  async function requeue(job: Job, inMs: number, error: SluiceError): Promise<Next> {
    await putBack(job, inMs, `nothing was started: ${error.message}`);
    return { againInMs: null };
  }

  async function rejected(job: Job, message: string): Promise<Next> {
    await jobs.transition(job, 'dispatching', 'failed', {
      outcome: outcome('rejected', { message }),
      why: message,
    });
    return { againInMs: null };
  }

  async function ambiguous(target: Target, job: Job, error: SluiceError): Promise<Next> {
    log.warn({ job: job.id, host: job.host, code: error.code }, 'job.start_ambiguous');
    const byAge = Math.min((await ageOf(job)) / 4, LONGEST_MS);
    return { againInMs: Math.max(pauseMs(target, error), byAge, SOON_MS) };
  }

  /** Since its start was first sent, in ms. */
  async function ageOf(job: Job): Promise<number> {
    const now = await jobs.now();
    return now - (job.dispatched_at ?? now);
  }

  return {
    onFirst,
    async beforeSending(target, job, error) {
      if (!(error instanceof SluiceError)) throw error;
      if (error.code === 'agent_rejected') {
        await jobs.transition(job, 'queued', 'failed', {
          outcome: outcome('rejected', { message: error.message }),
          why: error.message,
        });
        return { againInMs: null };
      }
      return { againInMs: Math.max(pauseMs(target, error), SOON_MS) };
    },
    async onRepeated(target, job, error) {
      if (error.code === 'agent_canceled_before_start') return onFirst(target, job, error);
      if (error.code === 'agent_rejected') return refusedLater(target, job, error);
      return unanswered(target, job, error);
    },
    unanswered,
    cannotBeRepeated,
    cannotBeSettled,
  };

  async function unanswered(target: Target, job: Job, error: unknown): Promise<Next> {
    if (!(error instanceof SluiceError)) throw error;
    if (error.code !== 'agent_store_changed') return ambiguous(target, job, error);
    const now = await jobs.now();
    await jobs.transition(job, 'dispatching', 'lost', {
      outcome: withAdvice(outcome('forgotten', { message: error.message })),
      lost_at: now,
      next_poll_at: now + LOST_PAUSE_MS,
      why: "the host's records are not those of the first start",
    });
    return { againInMs: null };
  }

  /** Nothing came of the repeated start; the first one may still arrive, and be taken. */
  async function refusedLater(target: Target, job: Job, refusal: SluiceError): Promise<Next> {
    try {
      if (await keepFromStarting(target, job, refusal.message)) await rejected(job, refusal.message);
      return { againInMs: null };
    } catch (error) {
      return unanswered(target, job, error);
    }
  }

  /** Asked again for a while: an agent may fail to answer just while it writes the end of the job. */
  async function notTold(target: Target, job: Job, error?: SluiceError): Promise<Next> {
    if ((await ageOf(job)) > ASKED_MS) return cannotBeSettled(job);
    return ambiguous(target, job, error ?? new SluiceError('agent_reply_lost'));
  }

  async function cannotBeSettled(job: Job): Promise<Next> {
    const now = await jobs.now();
    const message = 'the reply to its start was lost, and the agent cannot say whether it started';
    const unsettled = withAdvice(outcome('ambiguous_start', { message }));
    // Bounded, as `retry` is: on an agent that never answers a start it would go on for ever.
    if (job.on_ambiguous_start === 'retry' && job.attempt < MAX_ATTEMPTS) {
      const why = 'the reply to its start was lost; on_ambiguous_start is retry';
      // Growing, because each of them may have started the command.
      const eligible_at = now + 1_000 * 2 ** Math.min(6, job.attempt);
      const ended = { state: 'lost' as const, change: { outcome: unsettled } };
      await jobs.transition(job, 'dispatching', 'queued', nextAttempt(job, ended, { eligible_at, why }));
      return { againInMs: null };
    }
    await jobs.transition(job, 'dispatching', 'lost', {
      outcome: unsettled,
      lost_at: now,
      next_poll_at: now + LOST_PAUSE_MS,
      why: message,
    });
    return { againInMs: null };
  }

  async function cannotBeRepeated(target: Target, job: Job): Promise<Next> {
    try {
      const { reports, errors } = await contact.attempt(target, 'reconcile', (dial) =>
        agents.ask(dial, [job]),
      );
      const report = reports.get(job.id);
      if (report?.kind === 'unknown') return cannotBeSettled(job);
      if (!report) return notTold(target, job, errors.get(job.id));
      await commit(target, job, report);
      return { againInMs: null };
    } catch (error) {
      if (!(error instanceof SluiceError)) throw error;
      return ambiguous(target, job, error);
    }
  }
}

/** What the agent asked for (no longer than its host is paused for it), else what the host's failures make of it. */
function pauseMs(target: Target, error: SluiceError): number {
  const asked = error.fields.retry_after === undefined ? 0 : pauseAskedMs(error);
  return Math.max(asked, pauseLeftMs(target.health));
}
