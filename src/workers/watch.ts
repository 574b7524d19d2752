/**
 * How the workers watch over themselves and tell how they are, put together: the survey, the repair of queues that
 * nobody fetches from, and the listener for supervisors and Prometheus. No job depends on any of it.
 */
import type { Logger } from 'pino';
import type { Registry } from 'prom-client';
import type { Needs } from '../job/durability.ts';
import type { Followed } from '../store/followed.ts';
import type { JobStore } from '../store/jobs.ts';
import type { Keys } from '../store/keys.ts';
import type { Leases } from '../store/leases.ts';
import { nextDue } from '../store/queues/watch.ts';
import type { Queues } from '../store/queues.ts';
import { createReadiness } from '../store/redis/readiness.ts';
import type { Redis } from '../store/redis.ts';
import { createSurveyStore } from '../store/vitals/survey.ts';
import type { VitalsStore } from '../store/vitals.ts';
import { createLiveness, type LivenessThresholds } from './liveness.ts';
import type { WorkerMetrics } from './metrics.ts';
import { openOperating } from './operating.ts';
import type { QueueWorker } from './queue.ts';
import { createSurvey } from './survey.ts';

export interface Watch {
  /** Where metrics and health are told; null: nowhere. */
  url: string | null;
  close(): Promise<void>;
}

/** @throws Error of Node's `listen`, such as EADDRINUSE; nothing is left open then */
export async function openWatch(deps: {
  /** Fails fast (`connectForRequests`): a check and a scrape must end, with Redis away too. */
  redis: Redis;
  needs: Needs;
  keys: Keys;
  workers: QueueWorker[];
  nudge: Queues['nudge'];
  followed: Pick<Followed, 'hosts'>;
  jobs: Pick<JobStore, 'get' | 'events' | 'now'>;
  leases: Pick<Leases, 'claim'>;
  vitals: Pick<VitalsStore, 'surveyed'>;
  registry: Registry;
  workerMetrics: Pick<WorkerMetrics, 'onRepair' | 'watch'>;
  /** Null: nobody is told. */
  listen: { host: string; port: number } | null;
  onGivenUp: (error: Error) => void;
  thresholds: LivenessThresholds | undefined;
  owner: string;
  log: Logger;
}): Promise<Watch> {
  const { redis, needs, keys, workers, workerMetrics, registry, listen } = deps;
  const survey = createSurvey({ ...deps, survey: createSurveyStore({ redis, keys }) });
  const liveness = createLiveness({
    ...deps,
    nextDue: (queue) => nextDue(redis, keys.queuePrefix, queue),
    onRepair: workerMetrics.onRepair,
  });
  workerMetrics.watch(workers);
  const operating = await openOperating(listen, {
    registry,
    readiness: createReadiness({ redis, needs }),
    stuck: liveness.stuck,
  });
  liveness.start();
  survey.start();

  return {
    url: operating?.url ?? null,
    async close() {
      liveness.close();
      await survey.close();
      await operating?.close();
    },
  };
}
