/**
 * The BullMQ queues. Their jobs are thin wake-ups that carry the name of a host or of a batch, or nothing: the records are the
 * truth, so a wake-up may come twice, late, or never (the sweep then brings it).
 *
 * Every wake-up is deduplicated by its host: at most one runs and one waits. A wake-up for now also brings
 * forward one that waits for later (`reschedule`).
 */
import { type ConnectionOptions, Queue } from 'bullmq';

export const QUEUES = {
  dispatch: 'dispatch',
  follow: 'poll',
  deliver: 'deliver',
  batches: 'batches',
} as const;

export type QueueName = (typeof QUEUES)[keyof typeof QUEUES];
export const QUEUE_NAMES = Object.values(QUEUES);

/** The name of a job that does nothing. */
export const NUDGE = 'nudge';

export interface Wake {
  /** Somebody should drain this host's mailbox, now or in `delayMs`. */
  dispatch(host: string, delayMs?: number): Promise<void>;
  /** As `dispatch`, behind every host that is woken by it: a single job must not wait for the thousands of a batch. */
  dispatchBehind(host: string): Promise<void>;
  /** As `dispatchBehind`, unless a look at the host for now waits already for its turn. */
  dispatchIfForgotten(host: string): Promise<void>;
  /** Somebody should ask this host now (a new job to follow, a cancel to deliver). */
  follow(host: string): Promise<void>;
  /** Something is in the outbox. */
  deliver(): Promise<void>;
  /** Somebody should go on with this batch, now or in `delayMs`. */
  batch(id: string, delayMs?: number): Promise<void>;
}

/** The repeating job of a host with followed jobs. */
export interface Schedules {
  /** Sees to it that the host is asked every `everyMs`, beginning in `firstInMs`. */
  set(host: string, interval: { everyMs: number; firstInMs: number }): Promise<void>;
  remove(host: string): Promise<void>;
}

export interface Queues {
  wake: Wake;
  schedules: Schedules;
  /** Adds a job that does nothing: a worker that sleeps on a lost wake-up looks for work again. */
  nudge(queue: QueueName): Promise<void>;
  /** Whether hosts wait for a worker to start their jobs; looked up once a second. */
  isCrowded(): Promise<boolean>;
  close(): Promise<void>;
}

/** Any priority comes behind none. */
const BEHIND = 1;

/** How long a look at the line of hosts is believed, in ms. */
const CROWD_MS = 1_000;

export interface HostWakeUp {
  host: string;
}

export interface BatchWakeUp {
  batch: string;
}

export function createQueues(connection: ConnectionOptions, prefix: string): Queues {
  const options = {
    connection,
    prefix,
    streams: { events: { maxLen: 1_000 } },
    defaultJobOptions: { removeOnComplete: true, removeOnFail: true },
  };
  const dispatch = new Queue<HostWakeUp>(QUEUES.dispatch, options);
  const follow = new Queue<HostWakeUp>(QUEUES.follow, options);
  const deliver = new Queue(QUEUES.deliver, options);
  const batches = new Queue<BatchWakeUp>(QUEUES.batches, options);
  const queues: Record<QueueName, Queue> = { dispatch, poll: follow, deliver, batches };
  const crowd = { at: Number.NEGATIVE_INFINITY, waiting: 0 };
  for (const queue of Object.values(queues)) {
    // The commands' own promises carry these errors; without a listener they would be thrown a second time.
    queue.on('error', () => undefined);
  }

  async function dispatchBehind(host: string): Promise<void> {
    // An id of its own: a look that is not to wait must never be merged into it.
    const deduplication = once(`${host}@behind`);
    await dispatch.add('drain', { host }, { priority: BEHIND, deduplication });
  }

  /** One that is under way does not: it may be stuck, or nobody's any more. */
  async function waits(id: string): Promise<boolean> {
    const jobId = await dispatch.getDeduplicationJobId(id);
    const job = jobId === null ? undefined : await dispatch.getJob(jobId);
    return job !== undefined && job.processedOn === undefined;
  }

  return {
    wake: {
      async dispatch(host, delayMs = 0) {
        // A later look has an id of its own: a look for now must never be merged into it while it is being set.
        const id = delayMs > 0 ? `${host}@later` : host;
        await dispatch.add('drain', { host }, { delay: delayMs, deduplication: once(id) });
      },
      dispatchBehind,
      async dispatchIfForgotten(host) {
        const looks = await Promise.all([host, `${host}@behind`].map(waits));
        if (!looks.includes(true)) await dispatchBehind(host);
      },
      async follow(host) {
        await follow.add('ask', { host }, { deduplication: once(host) });
      },
      async deliver() {
        await deliver.add('expand', {}, { deduplication: once('expand') });
      },
      async batch(id, delayMs = 0) {
        const name = delayMs > 0 ? `${id}@later` : id;
        await batches.add('proceed', { batch: id }, { delay: delayMs, deduplication: once(name) });
      },
    },
    schedules: {
      async set(host, { everyMs, firstInMs }) {
        // Asked of Redis, because another process may have set or removed it; set again it would begin anew.
        if ((await follow.getJobScheduler(host))?.every === everyMs) return;
        const startDate = Date.now() + Math.max(0, Math.ceil(firstInMs));
        await follow.upsertJobScheduler(host, { every: everyMs, startDate }, { name: 'ask', data: { host } });
      },
      async remove(host) {
        await follow.removeJobScheduler(host);
      },
    },
    async nudge(queue) {
      // The id of no host: names hold no `@`.
      await queues[queue].add(NUDGE, {}, { deduplication: once(`@${NUDGE}`) });
    },
    async isCrowded() {
      if (performance.now() - crowd.at > CROWD_MS) {
        // One of many that ask at once looks; the others have what was seen before.
        crowd.at = performance.now();
        crowd.waiting = await dispatch.getJobCountByTypes('waiting', 'prioritized');
      }
      return crowd.waiting > 0;
    },
    async close() {
      await Promise.all(Object.values(queues).map((queue) => queue.close()));
    },
  };
}

function once(id: string) {
  return { id, keepLastIfActive: true, reschedule: true };
}
