/**
 * Going on with a batch: making the jobs that there is room for, letting held ones start, withdrawing and canceling where
 * it ends early. What may be done is decided by the store's scripts, for each job anew; this only asks until there is
 * nothing left to do for now. Two processes that go on with one batch at once get in each other's way, and do no harm.
 */
import type { Logger } from 'pino';
import type { Batch } from '../job/batch.ts';
import type { BatchStore, Look } from '../store/batches.ts';
import type { Cancel } from '../store/jobs/cancel.ts';
import type { JobStore } from '../store/jobs.ts';
import type { Wake } from '../store/queues.ts';
import type { Sealer } from '../store/sealing.ts';
import { createEndEarly } from './batches/end-early.ts';
import { createEndGone } from './batches/gone.ts';
import { createJobOfTarget } from './batches/job-of-target.ts';
import { createSucceedBatch } from './batches/succeed.ts';

/** Batches that one process goes on with at once. */
export const BATCHES_AT_ONCE = 8;
/** Made in one go, in one round trip to Redis. */
const AT_ONCE = 200;
/** What could not be done is tried again after so long, in ms. */
const AGAIN_MS = 1_000;

export type Proceed = (id: string) => Promise<void>;

export function createProceed(deps: {
  batches: Pick<
    BatchStore,
    'look' | 'make' | 'letGo' | 'targets' | 'jobIdsAt' | 'standings' | 'order' | 'get' | 'putOff' | 'now'
  >;
  jobs: Pick<JobStore, 'getMany' | 'transition'>;
  hosts: Parameters<typeof createEndGone>[0]['hosts'];
  cancel: Cancel;
  sealer: Pick<Sealer, 'seal' | 'open'>;
  wake: Pick<Wake, 'dispatchBehind' | 'batch'>;
  /** Aborted when the process stops. */
  stopping: AbortSignal;
  log: Logger;
}): Proceed {
  const { batches, jobs, sealer, wake, stopping, log } = deps;
  const endEarly = createEndEarly(deps);
  const endGone = createEndGone(deps);
  const succeed = createSucceedBatch(deps);
  const ofTarget = createJobOfTarget(sealer);

  return async (id) => {
    while (!stopping.aborted) {
      const seen = await batches.look(id);
      if (!seen) return;
      const done = await step(seen);
      if (done > 0) continue;
      if (seen.lookInMs === null) return;
      const inMs = Math.max(seen.lookInMs, AGAIN_MS);
      if (seen.lookInMs < AGAIN_MS) await batches.putOff(id, AGAIN_MS);
      await wake.batch(id, inMs);
      return;
    }
  };

  /** @returns how much came of it */
  async function step({ batch, room, free, held, waitsFor }: Look): Promise<number> {
    switch (batch.state) {
      case 'canceling':
        return endEarly(batch);
      case 'stopping':
        // What is still held then was started once: its further attempts are under way.
        return (await endEarly(batch)) || letGo(batch, held.slice(0, AT_ONCE));
      case 'running': {
        if (waitsFor !== null) return succeed(batch, waitsFor);
        const let_go = await letGo(batch, held.slice(0, Math.min(free, AT_ONCE)));
        return let_go + (await make(batch, Math.min(room, AT_ONCE)));
      }
      default:
        return 0;
    }
  }

  async function letGo(batch: Batch, held: number[]): Promise<number> {
    if (held.length === 0) return 0;
    const found = (await jobs.getMany(await batches.jobIdsAt(batch.id, held))).filter((job) => job !== null);
    const hosts = await Promise.all(found.map(async (job) => ((await batches.letGo(job)) ? [job.host] : [])));
    return wakeAll(hosts.flat());
  }

  async function make(batch: Batch, count: number): Promise<number> {
    if (count === 0) return 0;
    const now = await batches.now();
    const targets = await batches.targets(batch.id, batch.made, count);
    const made = await Promise.all(
      targets.map(async (target, i) => {
        const job = ofTarget(batch, target, batch.made + i, now);
        const one = await batches.make(job);
        return one ? [{ ...one, job }] : [];
      }),
    );
    const there = await endGone(made.flat());
    await wakeAll(there.flatMap(({ wake, job }) => (wake ? [job.host] : [])));
    return made.flat().length;
  }

  async function wakeAll(hosts: string[]): Promise<number> {
    const woken = await Promise.allSettled(hosts.map((host) => wake.dispatchBehind(host)));
    const failed = woken.find((one) => one.status === 'rejected');
    if (failed) log.warn({ err: failed.reason }, 'batch.dispatch_not_woken');
    return hosts.length;
  }
}
