/**
 * Webhooks: from the outbox to their receivers. BullMQ wakes, Redis holds the truth: a wake-up without an origin
 * means "look at the outbox", one with an origin means "something is due there".
 *
 * A wake-up may come twice or never. Twice, the second finds nothing to claim; never, `sweepDeliveries` finds
 * what is overdue. Order is not kept: a receiver goes by `data.version`.
 */
import { createHash } from 'node:crypto';
import { type ConnectionOptions, Queue, type Job as WakeUp, Worker } from 'bullmq';
import type { DeliveryStore } from '../store/deliveries.ts';
import { QUEUES } from '../store/queues.ts';
import type { EndpointStore } from '../store/webhooks.ts';
import { type AttemptDeps, createAttempt } from './deliver/attempt.ts';
import { drainOrigin } from './deliver/drain.ts';
import { type ExpandDeps, expandOutbox } from './deliver/expand.ts';

export interface DelivererDeps extends ExpandDeps, AttemptDeps {
  deliveries: DeliveryStore;
  endpoints: Pick<EndpointStore, 'list' | 'get' | 'secrets' | 'disable'>;
  /** A connection that never gives up (`connectForBlocking`). */
  connection: ConnectionOptions;
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
  start(): void;
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

export function createDeliverer(deps: DelivererDeps): Deliverer {
  const { deliveries, connection, queuePrefix: prefix, log } = deps;
  const closing = new AbortController();
  const attempt = createAttempt(deps);
  const queue = new Queue<Origin>(QUEUES.deliver, {
    connection,
    prefix,
    streams: { events: { maxLen: 1_000 } },
    defaultJobOptions: { removeOnComplete: true, removeOnFail: true },
  });
  const worker = new Worker<Origin>(QUEUES.deliver, work, {
    connection,
    prefix,
    autorun: false,
    concurrency: deps.concurrency,
    lockDuration: 10_000,
    stalledInterval: 5_000,
    maxStalledCount: 1_000_000,
    removeOnComplete: { count: 0 },
    removeOnFail: { count: 0 },
  });
  // Nothing more to do about any of them: what is still due comes back by its lease and the sweep.
  const complain = (event: string) => (err: unknown) => log.warn({ err }, event);
  queue.on('error', complain('webhook.queue.failed'));
  worker.on('error', complain('webhook.worker.failed'));
  worker.on('failed', (_, error) => complain('webhook.run.failed')(error));
  // A run whose lock is lost goes on elsewhere: it claims nothing more here.
  worker.on('lockRenewalFailed', (ids) => {
    for (const id of ids) worker.cancelJob(id, 'lock lost');
  });

  const expand = oneAtATime(async () => {
    await expandOutbox(deps);
    const origins = await deliveries.takeDue(ORIGINS_AT_ONCE);
    await queue.addBulk(origins.map((origin) => ({ name: 'origin', data: { origin } })));
  });

  return {
    expand,
    sweepDeliveries: expand,
    start() {
      worker.run().catch(complain('webhook.worker.failed'));
    },
    async close() {
      closing.abort();
      await worker.close();
      await queue.close();
    },
  };

  /** BullMQ makes the signal only for a function with three parameters. */
  async function work({ data: { origin } }: WakeUp<Origin>, _token?: string, signal?: AbortSignal) {
    if (origin === undefined) return expand();
    const drain = {
      deliveries,
      attempt,
      perOrigin: deps.perOrigin,
      leaseMs: deps.leaseMs ?? deps.timeoutMs + LEASE_MARGIN_MS,
      onError: complain('webhook.delivery.unrecorded'),
    };
    const stop = signal ? AbortSignal.any([signal, closing.signal]) : closing.signal;
    const next = await drainOrigin(drain, origin, stop);
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
