/**
 * The sweep: finds what fell between a record and its wake-up, and what only time moves. Every process sweeps;
 * a lease lets one of them do it at a time. Everything it does is harmless when done twice.
 */
import type { Logger } from 'pino';
import type { Job } from '../job/record.ts';
import type { BatchStore } from '../store/batches.ts';
import type { Followed } from '../store/followed.ts';
import type { Succeed } from '../store/jobs/succession.ts';
import type { JobStore } from '../store/jobs.ts';
import type { Leases } from '../store/leases.ts';
import type { Mailbox } from '../store/mailbox.ts';
import type { Wake } from '../store/queues.ts';
import type { Deadline } from './dispatch/deadline.ts';
import type { Rescue } from './sweep/rescue.ts';

const EVERY_MS = 1_000;
/** A host whose mailbox is late by so much has lost its wake-up, where none waits for its turn. */
const LATE_MS = 1_500;
/** A host whose earliest question is late by so much is asked by nobody. */
const UNASKED_MS = 20_000;
/** What is seldom needed is done every so many sweeps. */
const SELDOM = 10;
/** So is, once in so many, a pass over all jobs that wait: with a hundred thousand of them it is work. */
const PASS = 300;
const BATCH = 500;

export interface Sweep {
  start(): void;
  close(): Promise<void>;
}

export function createSweep(deps: {
  jobs: Pick<JobStore, 'overdue' | 'getMany' | 'remove'>;
  mailbox: Pick<Mailbox, 'overdue'>;
  followed: Pick<Followed, 'unasked'>;
  leases: Leases;
  wake: Wake;
  deadline: Pick<Deadline, 'passedBeforeStart'>;
  rescue: Rescue;
  /** Goes on with a job that waits for the one that holds its unique key. */
  succeed: Succeed;
  batches: Pick<BatchStore, 'overdue' | 'expired' | 'get' | 'remove'>;
  sweepDeliveries: () => Promise<void>;
  /** A sweep has ended well. */
  onSwept: () => Promise<void>;
  owner: string;
  log: Logger;
}): Sweep {
  const { jobs, mailbox, followed, leases, wake, deadline, rescue, succeed, owner, log } = deps;
  let timer: NodeJS.Timeout | undefined;
  let sweeping: Promise<void> | null = null;
  let count = 0;

  async function sweep(): Promise<void> {
    if (!(await leases.claim('sweep', owner, 3 * EVERY_MS))) return;
    if (count % PASS === 0) rescue.beginPass();
    const steps: Record<string, () => Promise<void>> = {
      wakeLate,
      passDeadlines,
      goOnWithSuccession,
      goOnWithBatches,
      deliverThenRemove,
      goOnWithRescue: rescue.goOn,
      ...(count % SELDOM === 0 && { wakeUnasked, rescueStranded: rescue.stranded }),
    };
    count++;
    let isWell = true;
    for (const [step, work] of Object.entries(steps)) {
      // Each for itself: a record that one of them cannot read must not keep the others from being done, ever.
      await work().catch((error: unknown) => {
        isWell = false;
        log.error({ step, err: error }, 'sweep.failed');
      });
    }
    if (isWell) await deps.onSwept();
  }

  async function wakeLate(): Promise<void> {
    // Most of them wait for their turn, those of a large batch.
    await Promise.all((await mailbox.overdue(LATE_MS, BATCH)).map(wake.dispatchIfForgotten));
  }

  async function passDeadlines(): Promise<void> {
    for (const job of await overdue('deadlines')) {
      if (job.state === 'queued') await deadline.passedBeforeStart(job);
    }
  }

  async function goOnWithSuccession(): Promise<void> {
    for (const id of await jobs.overdue('succession', BATCH)) {
      // Each for itself, as the steps are.
      await succeed(id).catch((err: unknown) => log.error({ job: id, err }, 'sweep.succession_failed'));
    }
  }

  async function goOnWithBatches(): Promise<void> {
    for (const id of await deps.batches.overdue(LATE_MS, BATCH)) await wake.batch(id);
  }

  /** In this order: a change in the outbox protects no record yet, its deliveries do. */
  async function deliverThenRemove(): Promise<void> {
    await deps.sweepDeliveries();
    await removeExpired();
    await removeBatches();
  }

  async function removeBatches(): Promise<void> {
    for (const id of await deps.batches.expired(BATCH)) {
      const batch = await deps.batches.get(id);
      if (batch && (await deps.batches.remove(batch))) log.info({ batch: id }, 'batch.removed');
    }
  }

  async function removeExpired(): Promise<void> {
    for (const job of await overdue('expiring')) {
      if (await jobs.remove(job)) log.info({ job: job.id }, 'job.removed');
    }
  }

  async function wakeUnasked(): Promise<void> {
    for (const { host, lateMs } of await followed.unasked(UNASKED_MS)) {
      log.warn({ host, late_ms: lateMs }, 'sweep.host_unasked');
      await wake.follow(host);
    }
  }

  async function overdue(kind: 'deadlines' | 'expiring'): Promise<Job[]> {
    const ids = await jobs.overdue(kind, BATCH);
    const found = await Promise.all(ids.map(readable));
    return found.filter((job) => job !== null);
  }

  /** A record that cannot be read would be due for ever, and everybody else with it. */
  async function readable(id: string): Promise<Job | null> {
    const [job = null] = await jobs.getMany([id]).catch((error: unknown) => {
      log.error({ job: id, err: error }, 'sweep.record_unreadable');
      return [];
    });
    return job;
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
