/**
 * Webhooks: from the outbox to their receivers. BullMQ wakes, Redis holds the truth: a wake-up without an origin
 * means "look at the outbox", one with an origin means "something is due there".
 *
 * A wake-up may come twice or never. Twice, the second finds nothing to claim; never, `sweepDeliveries` finds
 * what is overdue. Order is not kept: a receiver goes by `data.version`.
 */
import { createHash } from 'node:crypto';
import { Queue } from 'bullmq';
import type { DeliveryStore } from '../store/deliveries.ts';
import { QUEUES } from '../store/queues.ts';
import { oncePerOutage, type Redis } from '../store/redis.ts';
import type { EndpointStore } from '../store/webhooks.ts';
import { type AttemptDeps, createAttempt } from './deliver/attempt.ts';
import { drainOrigin } from './deliver/drain.ts';
import { type ExpandDeps, expandOutbox } from './deliver/expand.ts';
import { createQueueWorker, type QueueWorker } from './queue.ts';

export interface DelivererDeps extends ExpandDeps, AttemptDeps {
  deliveries: DeliveryStore;
  endpoints: Pick<EndpointStore, 'list' | 'get' | 'secrets' | 'disable'>;
  /** A connection that never gives up (`connectForBlocking`). */
  connection: Redis;
  /** `keys.queuePrefix` */
  queuePrefix: string;
  /** Requests under way to one origin at once, in all processes. */
  perOrigin: number;
  /** How long one attempt may take, in ms; the sender's own limit. */
  timeoutMs: number;
  /** How long a killed process's deliveries are nobody's. Default: `timeoutMs` and 5 s. */
  leaseMs?: number | undefined;
  /** Origins that are drained at once in this process. */
  concurrency: number;
}

export interface Deliverer {
  /** Turns what is in the outbox into deliveries, and wakes somebody for every origin with something due. */
  expand(): Promise<void>;
  /** The same, for the sweep: brings back what was left when a wake-up got lost. */
  sweepDeliveries(): Promise<void>;
  start(): QueueWorker;
  /** Waits for the attempts under way. */
  close(): Promise<void>;
}

interface Origin {
  origin?: string;
}

/** On top of `timeoutMs`: what is read and written before and after an attempt, with Redis away for a moment. */
const LEASE_MARGIN_MS = 5_000;
/** Waking a little late costs nothing; a little early it would find nothing due, and wait for the sweep. */
const LATE_MS = 5;
const ORIGINS_AT_ONCE = 1_000;
/** How long a look at the line of origins is believed, in ms. */
const CROWD_MS = 500;

export function createDeliverer(deps: DelivererDeps): Deliverer {
  const { deliveries, connection, queuePrefix: prefix, log } = deps;
  const closing = new AbortController();
  /** Requests under way whose run has given up its place to another origin. */
  const left = new Set<Promise<unknown>>();
  const crowd = { at: Number.NEGATIVE_INFINITY, waiting: 0 };
  const attempt = createAttempt(deps);
  const queue = new Queue<Origin>(QUEUES.deliver, {
    connection,
    prefix,
    streams: { events: { maxLen: 1_000 } },
    defaultJobOptions: { removeOnComplete: true, removeOnFail: true },
  });
  let worker: QueueWorker | null = null;
  // Nothing more to do about any of them: what is still due comes back by its lease and the sweep.
  const complain = (event: string) => (err: unknown) => log.warn({ err }, event);
  queue.on('error', oncePerOutage(connection, complain('webhook.queue.failed')));

  const expand = oneAtATime(async () => {
    await expandOutbox(deps, wakeDue);
    await wakeDue();
  });

  return {
    expand,
    sweepDeliveries: expand,
    start() {
      const { concurrency } = deps;
      worker = createQueueWorker<Origin>({
        ...{ queue: QUEUES.deliver, run, concurrency, connection, prefix, log },
      });
      return worker;
    },
    async close() {
      closing.abort();
      await worker?.close();
      await Promise.all(left);
      await queue.close();
    },
  };

  async function wakeDue(): Promise<void> {
    const origins = await deliveries.takeDue(ORIGINS_AT_ONCE);
    await queue.addBulk(origins.map((origin) => ({ name: 'origin', data: { origin } })));
  }

  async function isCrowded(): Promise<boolean> {
    if (performance.now() - crowd.at > CROWD_MS) {
      crowd.at = performance.now();
      crowd.waiting = await queue.getWaitingCount();
    }
    return crowd.waiting > 0;
  }

  async function run({ origin }: Origin, lost: AbortSignal): Promise<void> {
    if (origin === undefined) return expand();
    const drain = {
      deliveries,
      attempt,
      perOrigin: deps.perOrigin,
      leaseMs: deps.leaseMs ?? deps.timeoutMs + LEASE_MARGIN_MS,
      isCrowded,
      onLeft: (requests: Promise<unknown>) => {
        const done = requests.finally(() => left.delete(done));
        left.add(done);
      },
      onError: complain('webhook.delivery.unrecorded'),
    };
    const next = await drainOrigin(drain, origin, AbortSignal.any([lost, closing.signal]));
    if (!next) return;
    // The same moment of the same origin is woken for once, however many runs end before it.
    const jobId = `${createHash('sha1').update(origin).digest('hex')}-${next.at}`;
    await queue.add('origin', { origin }, { delay: next.inMs + LATE_MS, jobId });
  }
}

/** Calls that come while one is at work share the one after it. */
function oneAtATime(task: () => Promise<void>): () => Promise<void> {
  let current: Promise<void> = Promise.resolve();
  let waiting: Promise<void> | null = null;
  return () => {
    waiting ??= current
      .catch(() => undefined)
      .then(() => {
        waiting = null;
        current = task();
        return current;
      });
    return waiting;
  };
}
