/** Workers in this process on a test's Redis, and the way from a job's fields to its end. */
import { pino } from 'pino';
import { parseRedisUrl } from '../../src/config/redis-url.ts';
import type { Job } from '../../src/job/record.ts';
import { isOver } from '../../src/job/states.ts';
import { startWorkers, type Workers, type WorkersDeps } from '../../src/workers/main.ts';
import { newJob, type Stores } from './stores.ts';
import { until } from './until.ts';

export const TEST_CONFIG: WorkersDeps['config'] = {
  prefix: '{sluice}',
  metricsListen: null,
  heldHosts: 500,
  dispatchConcurrency: 100,
  pollConcurrency: 100,
  addressPatterns: [],
  apiKey: null,
  callbackSecret: null,
  crashAt: null,
  needs: { durability: 'everysec', ackReplicas: 0 },
  webhooks: { allow: ['127.0.0.0/8'], deny: [], scheduleSeconds: [0, 1, 1, 1], timeoutMs: 2_000 },
};

/** `TEST_LOG=debug` shows their log. */
export function startTestWorkers(
  redisUrl: string,
  stores: Stores,
  config: Partial<WorkersDeps['config']> = {},
  more: Partial<Pick<WorkersDeps, 'onGivenUp' | 'metrics' | 'liveness'>> = {},
): Promise<Workers> {
  const log = pino({ level: process.env.TEST_LOG ?? 'silent' });
  return startWorkers({
    config: { ...TEST_CONFIG, ...config },
    redisAddress: parseRedisUrl(redisUrl),
    sealer: stores.sealer,
    onGivenUp: (error) => {
      throw error;
    },
    ...more,
    log,
  });
}

/** Submits a job and waits for its end. */
export async function runToEnd(
  stores: Stores,
  fields: Partial<Job> & Pick<Job, 'host' | 'command'>,
  timeoutMs = 20_000,
): Promise<Job> {
  const { id } = await stores.submit(newJob(fields));
  return endOf(stores, id, timeoutMs);
}

export function endOf(stores: Stores, id: string, timeoutMs = 20_000): Promise<Job> {
  return until(
    async () => {
      const job = await stores.jobs.get(id);
      return job && isOver(job.state) && job;
    },
    { timeoutMs, what: `the end of ${id}` },
  );
}

/** Waits until a job is in this state. */
export function stateOf(stores: Stores, id: string, state: Job['state'], timeoutMs = 20_000): Promise<Job> {
  return until(
    async () => {
      const job = await stores.jobs.get(id);
      return job?.state === state && job;
    },
    { timeoutMs, what: `${id} to be ${state}` },
  );
}
