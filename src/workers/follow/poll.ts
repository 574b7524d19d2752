/**
 * A host's poll: the work of its repeating job. Stays with the host while questions are due within a second (the
 * first ones about a young job come quickly), then leaves the rest to the next repetition.
 */
import { setTimeout as pause } from 'node:timers/promises';
import type { Logger } from 'pino';
import { intervalMs } from '../../job/pace.ts';
import type { Job } from '../../job/record.ts';
import type { Followed } from '../../store/followed.ts';
import type { JobStore } from '../../store/jobs.ts';
import { LEASE_MS, whileRenewing } from '../../store/leases/renewal.ts';
import { holdLease, type Leases, pollLease } from '../../store/leases.ts';
import type { Schedules } from '../../store/queues.ts';
import type { Contact, Target } from '../contact.ts';
import type { Ask } from './ask.ts';
import { type DeliverCancel, owesCancel } from './cancel.ts';
import { nextAbout } from './running.ts';

/** The next question is waited for if it is due within so much. */
const STAY_MS = 1_000;
/** So much later than due is no reason for a shorter interval: what was asked just now took its time. */
const SLACK_MS = 250;
/** Jobs looked at in one round. */
const ROUND = 1_000;
/** How long one poll without cancels under way may go on; the next repetition takes over. */
const LONGEST_MS = 20_000;
/** How long questions are left to a held request at least before they are looked at again. */
const HELD_MS = 10_000;
/** Cancels that wait at a Full agent at once for their jobs' ends. */
const HELD_CANCELS = 100;
/** How long jobs of a host that is not known are put off. */
const UNKNOWN_MS = 60_000;
/** The sleep between two looks at what is due: a job that has just been started has its first question then. */
const LOOK_MS = 100;

export type Poll = (host: string) => Promise<void>;

/** Cancels under way on a host, by the id of their job: what each asks of it, and its end. */
type Canceling = Map<string, { order: string; done: Promise<unknown> }>;

export function createPoll(deps: {
  jobs: Pick<JobStore, 'getMany' | 'glance'>;
  followed: Pick<Followed, 'due' | 'nextInMs' | 'forget' | 'askAt'>;
  leases: Leases;
  schedules: Schedules;
  contact: Pick<Contact, 'target'>;
  ask: Ask;
  deliverCancel: DeliverCancel;
  /** This process, as the owner of leases. */
  owner: string;
  stopping: AbortSignal;
  log: Logger;
  /** How long a poll without cancels under way may go on, in ms. */
  longestMs?: number;
}): Poll {
  const { jobs, followed, leases, schedules, contact, ask, deliverCancel, owner, stopping, log } = deps;
  const { longestMs = LONGEST_MS } = deps;

  return async (host) => {
    if ((await followed.nextInMs(host)) === null) return schedules.remove(host);
    const me = `${owner}:${Math.random()}`;
    const end = Date.now() + longestMs;
    do {
      if (!(await leases.claim(pollLease(host), me, LEASE_MS))) return;
      try {
        await whileRenewing(
          () => leases.claim(pollLease(host), me, LEASE_MS),
          () => stay(host, end),
        );
      } finally {
        await leases.releaseIfHeldBy(pollLease(host), me);
      }
      // A job that came under way just before the release has had its wake-up turned away by our lease.
    } while (!stopping.aborted && Date.now() < end && (await nextInMs(host)) < STAY_MS);
  };

  async function stay(host: string, end: number): Promise<void> {
    const canceling: Canceling = new Map();
    let next: number;
    for (;;) {
      await round(host, canceling);
      next = await nextInMs(host);
      if (stopping.aborted) break;
      // Cancels are ours, with the lease: while one waits for its grace nobody else asks this host or cancels there.
      if (canceling.size === 0 && (next > STAY_MS || Date.now() > end)) break;
      await pause(Math.min(Math.max(next, 10), LOOK_MS));
    }
    if (canceling.size > 0) {
      await Promise.all([...canceling.values()].map(({ done }) => done));
      next = await nextInMs(host);
    }
    await repeat(host, next);
  }

  /** Asks about everything that is due; afterwards nothing of it is due now. */
  async function round(host: string, canceling: Canceling): Promise<void> {
    const { now, ids } = await followed.due(host, ROUND);
    if (ids.length === 0) return;
    const [target, isHeld] = await Promise.all([contact.target(host), leases.isClaimed(holdLease(host))]);
    if (!target) {
      log.error({ host, jobs: ids }, 'poll.host_unknown');
      return putOff(host, ids, now + UNKNOWN_MS);
    }
    // It failed, or asked for a pause.
    const { retry_at } = target.health;
    if (retry_at !== null && retry_at > now) return putOff(host, ids, retry_at);
    const seen = await jobs.glance(ids);
    await followed.forget(host, seen.gone);
    const found = (await jobs.getMany(seen.others)).filter((job) => job !== null);
    await startCancels(target, found.filter(owesCancel), canceling, now);
    const others = found.filter((job) => !owesCancel(job));
    if (!isHeld) return ask(target, { running: seen.running, others });
    // What a Full agent started and runs is in the held request; see `hold/request.ts`.
    const times = seen.running.map((job) => [job.id, nextAbout(job, now, host, HELD_MS)] as const);
    await followed.askAt(host, new Map(times));
    await ask(target, { running: [], others });
  }

  /** One slot is left for questions, as by starts; what finds no room waits its turn without being looked at. */
  async function startCancels(
    target: Target,
    owing: Job[],
    canceling: Canceling,
    now: number,
  ): Promise<void> {
    // Full agents hold a cancel outside the slots; see `cancel.ts`.
    const full = owing.every((job) => job.started_by === 'full');
    const most = full ? HELD_CANCELS : Math.max(1, target.config.max_requests - 1);
    const waiting: string[] = [];
    for (const job of owing) {
      const underWay = canceling.get(job.id);
      // Asked for again, it goes beside the one that waits for its grace, which has its end then.
      if (underWay ? underWay.order !== JSON.stringify(job.cancel) : canceling.size < most) {
        canceling.set(job.id, startCancel(target, job, canceling));
      } else if (!underWay) waiting.push(job.id);
    }
    await putOff(target.name, [...canceling.keys()], now + STAY_MS);
    const turns = waiting.map((id, i) => [id, now + LOOK_MS * (1 + Math.floor(i / most))] as const);
    await followed.askAt(target.name, new Map(turns));
  }

  /** Not waited for: a cancel takes as long as its grace, and the other jobs' questions are due. */
  function startCancel(target: Target, job: Job, canceling: Canceling) {
    const done = deliverCancel(target, job)
      .catch((err: unknown) => log.error({ host: job.host, job: job.id, err }, 'poll.cancel_failed'))
      .finally(() => canceling.get(job.id) === started && canceling.delete(job.id));
    const started = { order: JSON.stringify(job.cancel), done };
    return started;
  }

  async function putOff(host: string, ids: string[], until: number): Promise<void> {
    await followed.askAt(host, new Map(ids.map((id) => [id, until])));
  }

  async function nextInMs(host: string): Promise<number> {
    return (await followed.nextInMs(host)) ?? Number.POSITIVE_INFINITY;
  }

  /** Sets how often the host is asked from now on, by the job that is due soonest. */
  async function repeat(host: string, next: number): Promise<void> {
    if (next === Number.POSITIVE_INFINITY) await schedules.remove(host);
    else await schedules.set(host, { everyMs: intervalMs(next + SLACK_MS), firstInMs: next });
  }
}
