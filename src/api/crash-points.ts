/**
 * The crash points of the API, put around what it calls and before its replies: see `job/crash-points.ts`. Without one
 * that is asked for every part is left as it is.
 */
import { type CrashAt, createReach, lookAfter } from '../job/crash-points.ts';
import type { BatchStore } from '../store/batches.ts';
import type { JobStore } from '../store/jobs.ts';
import type { Wake } from '../store/queues.ts';
import type { Api } from './instance.ts';

export interface CrashPoints {
  jobs(store: JobStore): JobStore;
  batches(store: BatchStore): BatchStore;
  wake(wake: Wake): Wake;
  /** Before its first request. */
  app(app: Api): void;
}

const asItIs = <Part>(part: Part) => part;
const NONE: CrashPoints = { jobs: asItIs, batches: asItIs, wake: asItIs, app: () => undefined };

/** @param at null: there are none */
export function createCrashPoints(at: CrashAt | null, die: () => void): CrashPoints {
  if (at === null) return NONE;
  const reach = createReach(at, die);
  let woken: Promise<void> = Promise.resolve();

  return {
    jobs: (store) => ({
      ...store,
      accept: lookAfter(store.accept, ({ kind }) => kind === 'accepted' && reach('accept.stored')),
      async transition(...move) {
        const moved = await store.transition(...move);
        if (moved) reach('cancel.asked');
        return moved;
      },
    }),
    batches: (store) => ({
      ...store,
      accept: lookAfter(store.accept, ({ kind }) => kind === 'accepted' && reach('batch.stored')),
      order: lookAfter(store.order, (ordered) => ordered === 'done' && reach('batch.ordered')),
    }),
    wake: (wake) => ({
      ...wake,
      dispatch(...args) {
        woken = wake.dispatch(...args);
        return woken;
      },
    }),
    app(app) {
      app.addHook('onSend', async ({ method, routeOptions }, { statusCode }) => {
        if (method !== 'POST' || routeOptions.url !== '/v1/jobs' || statusCode >= 300) return;
        // Nobody waits for the wake-up; here it is to be certain that it came before the end.
        await woken.catch(() => undefined);
        reach('accept.woken');
      });
    },
  };
}
