/** Workers of this process with one host for every way of starting a job, and the words that tests about them share. */
import type { CancelOrder, Job } from '../../src/job/record.ts';
import { startRedis } from './redis.ts';
import { newJob, openStores } from './stores.ts';
import { until } from './until.ts';
import { isProven, startWays, type Way } from './ways.ts';
import { startTestWorkers } from './workers.ts';

export type Stage = Awaited<ReturnType<typeof openStage>>;

export async function openStage() {
  const redis = await startRedis();
  const stores = await openStores(redis.url);
  const ways = await startWays(stores);
  const workers = await startTestWorkers(redis.url, stores);

  return {
    stores,
    ways,
    submit: (host: Way, command: string, more: Partial<Job> = {}) =>
      stores.submit(newJob({ host, command, poll_interval: 1, ...more })),
    /** By `test`, with SIGTERM and a second of grace where nothing else is said. */
    cancel: (id: string, order: Partial<CancelOrder> = {}) =>
      stores.cancel(id, { signal: 'TERM', grace_seconds: 1, reason: null, ...order }, 'test'),
    /** Waits until a job is in this state, with all pauses of its host cut short. */
    reaches: (id: string, way: Way, state: Job['state']): Promise<Job> =>
      until(
        async () => {
          await stores.redis.hdel(stores.keys.hostHealth(way), 'retry_at');
          await stores.followed.askAt(way, new Map([[id, 0]]));
          const job = await stores.jobs.get(id);
          return job?.state === state && job;
        },
        { timeoutMs: 40_000, everyMs: 100, what: `${id} to be ${state}` },
      ),
    async close(): Promise<void> {
      await workers.close();
      await ways.close();
      await stores.close();
      await redis.stop();
    },
  };
}

/** What is told of a job that was stopped on such a host. */
export const stopped = (way: Way) => ({
  state: 'canceled',
  canceled_by: 'test',
  outcome: { kind: 'canceled', proof: isProven(way) ? 'group+marker' : 'none' },
});
