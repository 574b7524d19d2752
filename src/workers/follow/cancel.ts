/**
 * Delivering a cancel to the host, until the host has proven what became of the job. Delivered again
 * after every failure: agents take the same cancel any number of times.
 */
import type { Logger } from 'pino';
import type { AgentPort, CancelResult } from '../../job/agent-port.ts';
import { SluiceError } from '../../job/errors.ts';
import { outcome } from '../../job/outcome.ts';
import { LOST_PAUSE_MS, pauseMs as pauseByAge } from '../../job/pace.ts';
import type { CancelOrder, Job } from '../../job/record.ts';
import type { Followed } from '../../store/followed.ts';
import type { JobStore } from '../../store/jobs.ts';
import type { InSlot } from '../../store/slots/in-slot.ts';
import type { Commit } from '../commit.ts';
import type { Contact, Target } from '../contact.ts';
import { within } from '../within.ts';
import type { Silence } from './silence.ts';

/** How long a slot is waited for. */
const PATIENCE_MS = 5_000;
/** Between two deliveries of a cancel that has not led to a proof, in ms; at first. */
const AGAIN_MS = 5_000;

/** Until then a start that was sent to a Base agent may arrive, and be answered, in ms. */
const START_MS = 20_000;
/** Between two looks whether it has been answered, in ms: whoever sent it says so at once. */
const START_LOOK_MS = 1_000;

/** After so long a Full agent has the request and only waits for the job's end, in ms. */
const SENDING_MS = 2_000;

export type DeliverCancel = (target: Target, job: Job) => Promise<void>;

/** Whether the host still has to be told. */
export function owesCancel(job: Job): boolean {
  return job.cancel !== null && (job.state === 'canceling' || job.state === 'lost');
}

export function createDeliverCancel(deps: {
  jobs: Pick<JobStore, 'transition' | 'note' | 'events' | 'now'>;
  followed: Pick<Followed, 'askAt'>;
  agents: Pick<AgentPort, 'cancel'>;
  contact: Pick<Contact, 'attempt'>;
  inSlot: InSlot;
  commit: Commit;
  silence: Silence;
  log: Logger;
}): DeliverCancel {
  const { jobs, followed, agents, contact, inSlot, commit, silence, log } = deps;

  return async (target, job) => {
    const order = job.cancel;
    if (!order) return;
    const now = await jobs.now();
    if (isStartOpen(job, now)) {
      await followed.askAt(target.name, new Map([[job.id, now + START_LOOK_MS]]));
      return;
    }
    const pauseMs = againMs(job, now);
    try {
      const { report, unproven } = await send(target, job, order);
      // A lost job that its host cannot tell more about is as stopped as it can be: nothing is owed any more.
      const settled = job.state === 'lost' && report.kind === 'vanished';
      await jobs.note(job, { cancel_delivered_at: await jobs.now(), ...(settled && { cancel: null }) });
      if (unproven && report.kind !== 'ended') await endUnproven(job);
      // The agent leaves a tombstone for a token that it never saw: nothing will start under it.
      else if (report.kind === 'unknown') await commit(target, job, { kind: 'never_ran', message: null });
      else if (report.kind === 'ended' && report.remaining_pids.length > 0) await tellRemaining(job, report);
      else await commit(target, job, report);
    } catch (error) {
      if (!(error instanceof SluiceError)) throw error;
      log.info({ job: job.id, host: job.host, code: error.code }, 'job.cancel_owed');
      // Records that were replaced prove nothing: it may run on, and what was wiped may be restored.
      if (error.code === 'agent_store_changed') {
        await commit(target, job, { kind: 'unknown', message: error.message });
      } else await undelivered(target, job, error, pauseMs);
    }
    await followed.askAt(target.name, new Map([[job.id, (await jobs.now()) + pauseMs]]));
  };

  /**
   * A Full agent holds the reply until the job is dead, for as long as its grace: that takes no slot beyond the
   * sending, else some stubborn jobs would keep everybody else from the host. The launcher's verbs are requests all
   * the way, and stay in theirs.
   */
  async function send(target: Target, job: Job, order: CancelOrder): Promise<CancelResult> {
    const request = () => contact.attempt(target, 'cancel', (dial) => agents.cancel(dial, job, order));
    if (job.started_by !== 'full') return inSlot(target.config, { patienceMs: PATIENCE_MS }, request);
    let sent: Promise<CancelResult> | undefined;
    await inSlot(target.config, { patienceMs: PATIENCE_MS }, async () => {
      sent = request();
      // Its failure is heard below; a slot must not stay taken for it.
      await within(
        sent.catch(() => undefined),
        SENDING_MS,
      );
    });
    return sent as Promise<CancelResult>;
  }

  /** A cancel that cannot be delivered for long ends in `lost`, and is owed all the same. */
  async function undelivered(target: Target, job: Job, error: SluiceError, pauseMs: number): Promise<void> {
    if (error.code === 'host_busy') return;
    const { silent } = await silence.ofHost(target, [job]);
    if (!silent && error.code !== 'agent_busy') await silence.ofJob(job, error, pauseMs);
  }

  /** Not over, but people must see why: a process that hangs in its kernel, or one that another user owns. */
  async function tellRemaining(
    job: Job,
    { remaining_pids: pids }: { remaining_pids: number[] },
  ): Promise<void> {
    const why = `still there after KILL: ${pids.length === 1 ? 'process' : 'processes'} ${pids.slice(0, 20).join(', ')}`;
    if (job.state !== 'canceling' || (await jobs.events(job.id)).at(-1)?.why === why) return;
    const next_poll_at = await jobs.now();
    await jobs.transition(job, 'canceling', 'canceling', { why, next_poll_at, untold: true });
  }

  async function endUnproven(job: Job): Promise<void> {
    const message = 'marked as canceled by the agent, which cannot check what is left';
    const now = await jobs.now();
    await jobs.transition(job, job.state as 'canceling', 'canceled', {
      outcome: outcome('canceled', { message, proof: 'none' }),
      ended_at: now,
      ...(job.state === 'lost' && { recovered_at: now, type: 'job.recovered' as const }),
      why: message,
    });
  }
}

/**
 * Whether the start of a plain Base agent's job is under way: a cancel that came first would find nothing, and leave the
 * command to run on. The first generation tells its own id of the job in the reply to it.
 */
function isStartOpen(job: Job, now: number): boolean {
  if (job.started_by !== 'base' || job.state !== 'canceling' || job.started_at !== null) return false;
  return now - (job.dispatched_at ?? 0) < START_MS;
}

function againMs(job: Job, now: number): number {
  if (job.state === 'lost') return LOST_PAUSE_MS;
  return Math.max(AGAIN_MS, pauseByAge(now - (job.cancel_requested_at ?? now), job.poll_interval));
}
