/**
 * The sweep: finds what fell between a record and its wake-up, and what only time moves. Every process sweeps;
 * a lease lets one of them do it at a time. Everything it does is harmless when done twice.
 */
import type { Logger } from 'pino';
import type { Job } from '../job/record.ts';
import type { Followed } from '../store/followed.ts';
import type { JobStore } from '../store/jobs.ts';
import type { Leases } from '../store/leases.ts';
import type { Mailbox } from '../store/mailbox.ts';
import type { Wake } from '../store/queues.ts';
import type { Contact } from './contact.ts';
import type { Deadline } from './dispatch/deadline.ts';
import type { Silence } from './follow/silence.ts';

const EVERY_MS = 1_000;
/** A host whose mailbox is late by so much has lost its wake-up. */
const LATE_MS = 1_500;
/** A host whose earliest question is late by so much is asked by nobody. */
const UNASKED_MS = 20_000;
/** What is seldom needed is done every so many sweeps. */
const SELDOM = 10;
const BATCH = 500;

export interface Sweep {
  start(): void;
  close(): Promise<void>;
}

export function createSweep(deps: {
  jobs: Pick<JobStore, 'list' | 'overdue' | 'getMany' | 'remove' | 'now'>;
  mailbox: Pick<Mailbox, 'overdue' | 'rescue'>;
  followed: Pick<Followed, 'unasked'>;
  leases: Leases;
  wake: Wake;
  deadline: Pick<Deadline, 'passedBeforeStart'>;
  contact: Pick<Contact, 'target'>;
  silence: Pick<Silence, 'ofHost'>;
  sweepDeliveries: () => Promise<void>;
  /** A sweep has ended well. */
  onSwept: () => Promise<void>;
  owner: string;
  log: Logger;
}): Sweep {
  const { jobs, mailbox, followed, leases, wake, deadline, contact, silence, owner, log } = deps;
  let timer: NodeJS.Timeout | undefined;
  let sweeping: Promise<void> | null = null;
  let count = 0;

  async function sweep(): Promise<void> {
    if (!(await leases.claim('sweep', owner, 3 * EVERY_MS))) return;
    for (const host of await mailbox.overdue(LATE_MS, BATCH)) await wake.dispatch(host);
    for (const job of await overdue('deadlines')) {
      if (job.state === 'queued') await deadline.passedBeforeStart(job);
    }
    for (const job of await overdue('expiring')) {
      if (await jobs.remove(job)) log.info({ job: job.id }, 'job.removed');
    }
    await deps.sweepDeliveries();
    if (count++ % SELDOM === 0) {
      await wakeUnasked();
      await rescueStranded();
    }
    await deps.onSwept();
  }

  /** A start that nobody has in hand: its slot was lost with the last second of a Redis that crashed. */
  async function rescueStranded(): Promise<void> {
    let after: string | null = null;
    do {
      const page = await jobs.list({ state: ['dispatching'] }, { size: BATCH, ...(after && { after }) });
      for (const job of page.jobs) {
        await giveUpIfSilent(job);
        if (!(await mailbox.rescue(job))) continue;
        log.warn({ job: job.id, host: job.host }, 'sweep.start_rescued');
        await wake.dispatch(job.host);
      }
      after = page.after;
    } while (after !== null);
  }

  /** A start whose host never came back: nobody asks about it, so nobody else would notice. */
  async function giveUpIfSilent(job: Job): Promise<void> {
    const asked = job.dispatched_at ?? job.created_at;
    if ((await jobs.now()) < asked + job.lost_after_seconds * 1_000) return;
    const target = await contact.target(job.host);
    if (target) await silence.ofHost(target, [job]);
  }

  async function wakeUnasked(): Promise<void> {
    for (const { host, lateMs } of await followed.unasked(UNASKED_MS)) {
      log.warn({ host, late_ms: lateMs }, 'sweep.host_unasked');
      await wake.follow(host);
    }
  }

  async function overdue(kind: 'deadlines' | 'expiring'): Promise<Job[]> {
    const found = await jobs.getMany(await jobs.overdue(kind, BATCH));
    return found.filter((job): job is Job => job !== null);
  }

  return {
    start() {
      timer = setInterval(() => {
        // One at a time: those of an outage of Redis must not all be made up for afterwards.
        sweeping ??= sweep()
          .catch((error: unknown) => log.error({ err: error }, 'sweep.failed'))
          .finally(() => {
            sweeping = null;
          });
      }, EVERY_MS);
    },
    async close() {
      clearInterval(timer);
      await sweeping;
    },
  };
}
