/**
 * The workers: dispatch, follow, hold, deliver and sweep, wired to one Redis. Any number of processes may run
 * them at once.
 */
import { randomUUID } from 'node:crypto';
import { setTimeout as pause } from 'node:timers/promises';
import type { Logger } from 'pino';
import type { Config } from '../config.ts';
import type { Job } from '../job/record.ts';
import { createProcessMetrics, type ProcessMetrics } from '../metrics/process.ts';
import { createAgentPort } from '../net/agents.ts';
import { createBatchStore } from '../store/batches.ts';
import { createBudget } from '../store/budget.ts';
import { createFeed } from '../store/feed.ts';
import { createFollowed } from '../store/followed.ts';
import { createHostStore } from '../store/hosts.ts';
import { createCancel } from '../store/jobs/cancel.ts';
import { createLineStore } from '../store/jobs/line.ts';
import { createSucceed } from '../store/jobs/succession.ts';
import { createJobStore } from '../store/jobs.ts';
import { createKeys } from '../store/keys.ts';
import { createLeases } from '../store/leases.ts';
import { createMailbox } from '../store/mailbox.ts';
import { createWakers } from '../store/queues/wakers.ts';
import { type BatchWakeUp, createQueues, type HostWakeUp, QUEUES } from '../store/queues.ts';
import { createAcknowledging } from '../store/redis/acknowledging.ts';
import { createOutages } from '../store/redis/outages.ts';
import { connectForBlocking, connectForRequests, oncePerOutage, type RedisAddress } from '../store/redis.ts';
import type { Sealer } from '../store/sealing.ts';
import { createInSlot } from '../store/slots/in-slot.ts';
import { createSlotStore } from '../store/slots.ts';
import { createVitals } from '../store/vitals.ts';
import { BATCHES_AT_ONCE, createProceed } from './batches.ts';
import { createCommit } from './commit.ts';
import { createContact } from './contact.ts';
import { createCrashPoints } from './crash-points.ts';
import { createDelivery } from './delivery.ts';
import { createEffort } from './dispatch/effort.ts';
import { createDispatch } from './dispatch.ts';
import { createFollow } from './follow.ts';
import { createHeld } from './hold/request.ts';
import { createHolds } from './hold.ts';
import type { LivenessThresholds } from './liveness.ts';
import { measureWorkers } from './metrics.ts';
import { createQueueWorker } from './queue.ts';
import { createRescue } from './sweep/rescue.ts';
import { createSweep } from './sweep.ts';
import { openWatch, type Watch } from './watch.ts';

/** How long a stop waits for what is under way (a question, a grace of a cancel, a Redis that is away), in ms. */
const PATIENCE_MS = 12_000;

export interface Workers {
  /** Where their metrics and health are told; null: nowhere. */
  metricsUrl: string | null;
  /** Starts nothing new, finishes what is under way, leaves the rest to others. */
  close(): Promise<void>;
}

export interface WorkersDeps {
  config: Pick<
    Config,
    | 'prefix'
    | 'metricsListen'
    | 'heldHosts'
    | 'dispatchConcurrency'
    | 'pollConcurrency'
    | 'addressPatterns'
    | 'webhooks'
    | 'apiKey'
    | 'callbackSecret'
    | 'needs'
    | 'crashAt'
  >;
  redisAddress: RedisAddress;
  sealer: Sealer;
  log: Logger;
  /** The workers can no longer do their work and cannot mend themselves: the process should end. */
  onGivenUp: (error: Error) => void;
  /** Those of this process, where another program runs in it too. */
  metrics?: ProcessMetrics;
  liveness?: LivenessThresholds;
}

/** @throws Error of Node's `listen`, such as EADDRINUSE, for `metricsListen`; nothing is left open then */
export async function startWorkers({
  config,
  redisAddress,
  sealer,
  log: told,
  onGivenUp,
  metrics = createProcessMetrics(),
  liveness: thresholds,
}: WorkersDeps): Promise<Workers> {
  const owner = randomUUID();
  const stop = new AbortController();
  const keys = createKeys(config.prefix);
  const redis = connectForBlocking(redisAddress, 'workers');
  const subscriber = connectForBlocking(redisAddress, 'workers-feed');
  const producer = connectForRequests(redisAddress, 'workers-queues');
  const { ackReplicas: replicas } = config.needs;
  const starter = replicas > 0 ? connectForBlocking(redisAddress, 'workers-starts') : null;
  const connections = [redis, subscriber, producer, ...(starter ? [starter] : [])];
  const outages = createOutages({ redis: producer, key: keys.probe, log: told });
  const { log } = outages;
  for (const connection of connections) {
    const tell = ({ message }: Error) => log.warn({ reason: message }, 'redis.error');
    connection.on('error', oncePerOutage(connection, tell));
  }
  await Promise.all(connections.map((connection) => connection.connect()));
  // Read over the connection that fails fast: a scrape must end, with Redis away too.
  const vitals = createVitals({ redis: producer, keys });
  metrics.watch(vitals.read);

  const points = createCrashPoints(config.crashAt, () => process.kill(process.pid, 'SIGKILL'));
  const { wake, nudge, isCrowded, close: closeQueues, ...queues } = createQueues(producer, keys.queuePrefix);
  const schedules = points.schedules(queues.schedules);
  const stored = { redis, keys };
  const wakers = createWakers({ wake, log });
  const onMoved = { ...wakers, onTold: points.onTold(wakers.onTold) };
  const jobs = points.jobs(createJobStore({ ...stored, ...onMoved }));
  const onChange = (change: 'missing' | 'back') =>
    log[change === 'missing' ? 'error' : 'info']({ replicas }, `replicas.${change}`);
  const replicated = starter && {
    jobs: points.jobs(createJobStore({ redis: starter, keys, ...onMoved })),
    acknowledged: createAcknowledging({ redis: starter, keys, replicas, onChange }),
  };
  const { onHostChange, onRequest, onLimited } = metrics;
  const hosts = createHostStore({ ...stored, sealer, patterns: config.addressPatterns, onHostChange });
  const mailbox = points.mailbox(createMailbox(stored));
  const followed = createFollowed(stored);
  const inSlot = createInSlot({ slots: createSlotStore(stored) });
  const leases = points.leases(createLeases(stored));
  const feed = await createFeed({ redis, subscriber, keys, hears: 'work' });
  const agents = points.agents(createAgentPort({ onRequest }));

  const budget = createBudget({ ...stored, onWait: (what) => onLimited('rate', what) });
  const effort = createEffort();
  // A start that waits for its host, or for a token of its host, leaves its room to another.
  const lending: Pick<typeof budget, 'pay'> = {
    pay: (...given) =>
      given[2].for === 'start' ? effort.aside(() => budget.pay(...given)) : budget.pay(...given),
  };
  const contact = createContact({ hosts, followed, agents, budget: lending, wake, log });
  const onFollowed = (job: Job) => {
    if (job.started_by === 'full') holds.want(job.host);
    void wake.follow(job.host).catch((err: unknown) => log.warn({ host: job.host, err }, 'poll.not_woken'));
  };
  const commit = createCommit({ jobs, agents, contact, onFollowed, onPutBack: wakers.onFreed, log });
  const hold = createHeld({ jobs, followed, agents, contact, inSlot, commit });
  const holds = createHolds({ followed, leases, feed, wake, hold, limit: config.heldHosts, owner, log });
  const workerMetrics = measureWorkers(metrics.registry, { holds });

  const stopping = stop.signal;
  const batches = points.batches(createBatchStore(stored));
  const {
    drain,
    deadline,
    close: closeDispatch,
  } = createDispatch({
    ...{ jobs, batches, mailbox, agents, contact, commit, inSlot, effort, feed, sealer },
    ...{ onLimited, stopping, log },
    replicated,
    // Where this process has places left, hosts that wait are on their way to them.
    queues: { wake, isCrowded: async () => dispatching.isFull() && (await isCrowded()) },
  });
  const { poll, silence } = createFollow({
    ...{ jobs, followed, leases, schedules, budget, inSlot, agents, contact, commit, owner, stopping, log },
  });

  const shared = { connection: redis, prefix: keys.queuePrefix, log };
  const dispatching = createQueueWorker({
    ...shared,
    queue: QUEUES.dispatch,
    run: ({ host }: HostWakeUp) => drain(host),
    concurrency: config.dispatchConcurrency,
  });
  const cancel = createCancel({ jobs, wake });
  const proceed = createProceed({ batches, jobs, hosts, cancel, sealer, wake, stopping, log });
  const workers = [
    dispatching,
    createQueueWorker({
      ...shared,
      queue: QUEUES.follow,
      run: ({ host }: HostWakeUp) => poll(host),
      concurrency: config.pollConcurrency,
    }),
    createQueueWorker({
      ...shared,
      queue: QUEUES.batches,
      run: ({ batch }: BatchWakeUp) => proceed(batch),
      concurrency: BATCHES_AT_ONCE,
    }),
  ];
  const { onAttempted } = workerMetrics;
  const delivery = createDelivery({ ...stored, jobs, hosts, sealer, config, points, onAttempted, log });
  const sweep = createSweep({
    ...{ jobs, mailbox, followed, leases, wake, deadline, owner, log },
    succeed: createSucceed({ jobs, lines: createLineStore(stored), cancel, wake }),
    batches,
    rescue: createRescue({ jobs, mailbox, wake, contact, silence, log }),
    sweepDeliveries: () => delivery.deliverer.sweepDeliveries(),
    onSwept: vitals.swept,
  });
  workers.push(delivery.deliverer.start());
  let watch: Watch | null = null;

  async function finish(): Promise<void> {
    await Promise.all([sweep.close(), watch?.close(), ...workers.map((worker) => worker.close())]);
    await holds.close();
    await delivery.close();
    closeDispatch();
    await agents.close();
    await feed.close();
    await closeQueues();
  }

  async function close(): Promise<void> {
    stop.abort();
    const cut = pause(PATIENCE_MS, 'cut', { ref: false });
    if ((await Promise.race([finish(), cut])) === 'cut') {
      // Nothing is lost: what was under way is leased, and another worker takes it over when the lease ends.
      log.warn({ owner }, 'workers.stop_cut_short');
      // BullMQ's loop would turn without a pause on a connection that is closed under it, and nothing else ever run.
      for (const worker of workers) worker.abandon();
    }
    outages.close();
    for (const connection of connections) connection.disconnect();
    log.info({ owner }, 'workers.stopped');
  }

  try {
    watch = await openWatch({
      ...{ redis: producer, keys, workers, nudge, followed, jobs, leases, vitals, workerMetrics },
      needs: config.needs,
      ...{ registry: metrics.registry, listen: config.metricsListen, onGivenUp, thresholds, owner, log },
    });
  } catch (error) {
    await close();
    throw error;
  }
  sweep.start();
  log.info({ owner, metrics: watch.url }, 'workers.started');
  return { metricsUrl: watch.url, close };
}
