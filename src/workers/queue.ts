/**
 * A BullMQ worker as this project runs it: locks and stalled checks short enough that what a killed process held
 * is taken over within seconds, and no limit on how often a wake-up may stall, because a wake-up is no attempt.
 *
 * By the defaults of BullMQ a killed worker's job runs again after 59 s at worst, by these after 6 s: until the lock
 * has expired, and then until the next look for what has stalled.
 */
import { type Job, Worker } from 'bullmq';
import type { Logger } from 'pino';
import { NUDGE, type QueueName } from '../store/queues.ts';
import { oncePerOutage, type Redis } from '../store/redis.ts';

export interface QueueWorker {
  queue: QueueName;
  concurrency: number;
  /** How many runs are under way. */
  running(): number;
  /** Whether it has no place left for another one. */
  isFull(): boolean;
  /** Leaves the worker that fetches no more to itself and starts another, over fresh connections. */
  recreate(): void;
  /** Stops fetching and waits for what runs. */
  close(): Promise<void>;
  /** Stops fetching, and waits for nothing: for a Redis that does not answer. */
  abandon(): void;
}

export function createQueueWorker<WakeUp extends object>(deps: {
  queue: QueueName;
  /** `lost` is aborted when somebody else may have taken the wake-up over. */
  run: (wakeUp: WakeUp, lost: AbortSignal) => Promise<void>;
  concurrency: number;
  connection: Redis;
  prefix: string;
  log: Logger;
}): QueueWorker {
  const { queue, run, concurrency, connection, prefix, log } = deps;
  const complain = oncePerOutage(connection, (err) => log.warn({ queue, err }, 'queue.error'));
  let running = 0;
  let worker = start();

  function start(): Worker<WakeUp> {
    const started = new Worker<WakeUp>(queue, work, {
      connection,
      prefix,
      concurrency,
      lockDuration: 5_000,
      stalledInterval: 1_000,
      maxStalledCount: 1_000_000,
      drainDelay: 5,
      removeOnComplete: { count: 0 },
      removeOnFail: { count: 0 },
    });
    started.on('error', complain);
    started.on('lockRenewalFailed', (ids) => {
      for (const id of ids) started.cancelJob(id, 'lock lost');
    });
    return started;
  }

  /** BullMQ makes the signal only for a function with three parameters. */
  async function work({ name, data }: Job<WakeUp>, _token?: string, lost?: AbortSignal): Promise<void> {
    if (name === NUDGE) return;
    running++;
    try {
      await run(data, lost ?? new AbortController().signal);
    } catch (error) {
      // Not thrown on: the records are the truth, and the sweep wakes whoever still waits.
      log.error({ queue, ...(data as object), err: error }, 'queue.run_failed');
    } finally {
      running--;
    }
  }

  /** Not waited for: what it hangs on may never answer. Its runs go on, and what they do may be done twice. */
  function abandon(): void {
    worker.close(true).catch((error: unknown) => log.warn({ queue, err: error }, 'queue.error'));
  }

  return {
    queue,
    concurrency,
    running: () => running,
    isFull: () => running >= concurrency,
    abandon,
    recreate() {
      abandon();
      // Commands under way are sent again on the new connection.
      connection.disconnect(true);
      worker = start();
    },
    close: () => worker.close(),
  };
}
