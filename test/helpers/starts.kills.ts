/**
 * The moments of the table of starts at which the worker itself is killed (a real process, by SIGKILL) or stands still,
 * while it is the only one of its gateway. Another one goes on from what it left.
 */
import type { Job } from '../../src/job/record.ts';
import { whyStarting } from '../../src/workers/dispatch/start.ts';
import { isAlive } from './alive.ts';
import { startSluice } from './sluice-process.ts';
import { startStallingProxy } from './stalling-proxy.ts';
import type { Moment, Scene } from './starts.scene.ts';
import { newJob, type Stores } from './stores.ts';
import { until } from './until.ts';
import { startTestWorkers } from './workers.ts';

/** What a worker process of this gateway is started with. */
export interface Gateway {
  stores: Stores;
  redisUrl: string;
  prefix: string;
  env: Record<string, string>;
}

/** Each takes the gateway of its cell, whose workers it starts itself. */
export const KILLS: Record<string, (gateway: Gateway) => Moment> = {
  'the worker is killed before the commit of `dispatching`': (gateway) => crashAt(gateway, 'dispatch.taken'),
  'the worker is killed between that commit and sending': (gateway) => crashAt(gateway, 'dispatch.committed'),
  'the worker is killed between sending and the reply': (gateway) => async (scene) => {
    const victim = await startWorker(gateway, {});
    const acted = Promise.withResolvers<void>();
    // Its reply never comes.
    scene.door.onStart(async (start) => {
      await start.forward();
      acted.resolve();
    });
    const { id } = await scene.submit();
    await acted.promise;
    await victim.kill('SIGKILL');
    await goOn(gateway, scene, id);
  },
  'the worker is killed between the reply and its commit': (gateway) => crashAt(gateway, 'dispatch.answered'),
  'the worker stands still between that commit and sending, and wakes up late': (gateway) =>
    standStill(gateway, {}),
  'the worker stands still between that commit and sending, and wakes up late; `retry`': (gateway) =>
    standStill(gateway, { on_ambiguous_start: 'retry' }),
};

function crashAt(gateway: Gateway, point: string): Moment {
  return async (scene) => {
    const victim = await startWorker(gateway, { SLUICE_CRASH_AT: point });
    const { id } = await scene.submit();
    await until(() => !isAlive(victim.pid), { what: `the worker to die at ${point}` });
    await goOn(gateway, scene, id);
  };
}

/** For longer than its claim lasts (SIGSTOP), so that another worker concludes what became of the start. */
function standStill(gateway: Gateway, fields: Partial<Job>): Moment {
  return async (scene) => {
    await useScripts(gateway.stores);
    // In the take of what is begun by it, else in the move.
    const proxy = await startStallingProxy(gateway.redisUrl, whyStarting(1));
    const sleeper = await startWorker(gateway, { REDIS_URL: proxy.url });
    try {
      const { id } = await scene.submit(fields);
      await proxy.stalled;
      await scene.state(id, 'dispatching');
      process.kill(sleeper.pid, 'SIGSTOP');
      proxy.goOn();
      await goOn(gateway, scene, id, async () => {
        process.kill(sleeper.pid, 'SIGCONT');
        // Which it does not before it is done with what it had begun.
        await sleeper.kill('SIGTERM');
      });
    } finally {
      await sleeper.kill('SIGKILL');
      await proxy.stop();
    }
  };
}

/** Redis knows the scripts afterwards: otherwise their first caller is answered with a request for their text. */
async function useScripts(stores: Stores): Promise<void> {
  const limits = { max_requests: 1, max_jobs: null, rate: null };
  await stores.mailbox.take('nobody', limits, { leaseMs: 1, most: 0, revision: 0 });
  const { id } = await stores.submit(newJob({ host: 'nobody', command: 'true' }));
  await stores.cancel(id, { signal: 'TERM', grace_seconds: 1, reason: null }, 'test');
}

const startWorker = ({ env }: Gateway, more: Record<string, string>) =>
  startSluice(['worker'], { ...env, ...more }, /"msg":"workers.started"/);

/** @param afterwards what happens once the job is over */
async function goOn(
  { redisUrl, prefix, stores }: Gateway,
  scene: Scene,
  id: string,
  afterwards: () => Promise<void> = async () => undefined,
): Promise<void> {
  const workers = await startTestWorkers(redisUrl, stores, { prefix });
  try {
    await scene.ended(id);
    await afterwards();
    await scene.askAboutLost(id);
  } finally {
    await workers.close();
  }
}
