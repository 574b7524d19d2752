/**
 * The moments of the table of starts at which the worker itself is killed: a real process, by SIGKILL, while it is the
 * only one of its gateway. Another one goes on afterwards, as after any crash.
 */
import { isAlive } from './alive.ts';
import { startSluice } from './sluice-process.ts';
import type { Moment, Scene } from './starts.scene.ts';
import type { Stores } from './stores.ts';
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
};

function crashAt(gateway: Gateway, point: string): Moment {
  return async (scene) => {
    const victim = await startWorker(gateway, { SLUICE_CRASH_AT: point });
    const { id } = await scene.submit();
    await until(() => !isAlive(victim.pid), { what: `the worker to die at ${point}` });
    await goOn(gateway, scene, id);
  };
}

const startWorker = ({ env }: Gateway, more: Record<string, string>) =>
  startSluice(['worker'], { ...env, ...more }, /"msg":"workers.started"/);

async function goOn({ redisUrl, prefix, stores }: Gateway, scene: Scene, id: string): Promise<void> {
  const workers = await startTestWorkers(redisUrl, stores, { prefix });
  try {
    await scene.ended(id);
    await scene.askAboutLost(id);
  } finally {
    await workers.close();
  }
}
