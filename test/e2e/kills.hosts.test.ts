/** Cancels and timeouts while whoever keeps them is killed: a worker, the agents, or everything but the jobs. */
import { execFile } from 'node:child_process';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { killProcessesOf } from '../helpers/base-agent.processes.ts';
import { startRedis, type TestRedis } from '../helpers/redis.ts';
import { type SluiceProcess, startSluice } from '../helpers/sluice-process.ts';
import { stopped } from '../helpers/stage.ts';
import { newJob, openStores, type Stores } from '../helpers/stores.ts';
import { until } from '../helpers/until.ts';
import {
  createScene,
  isProven,
  PLAIN,
  PROVEN,
  type Scene,
  startWays,
  WAYS,
  type Way,
  type Ways,
} from '../helpers/ways.ts';
import { endOf, stateOf } from '../helpers/workers.ts';

let dir: string;
let redis: TestRedis;
let stores: Stores;
let ways: Ways;
let worker: SluiceProcess;
const scenes = new Map<Way, Scene>();

beforeAll(async () => {
  dir = await mkdtemp(join(tmpdir(), 'sluice-kills-hosts-'));
  const secret = Buffer.alloc(32, 3);
  await writeFile(join(dir, 'secret'), `${secret.toString('base64')}\n`, { mode: 0o600 });
  redis = await startRedis();
  stores = await openStores(redis.url, { secret });
  ways = await startWays(stores);
  worker = await startWorker();
});
afterAll(async () => {
  await worker?.kill();
  await ways?.close();
  await stores?.close();
  await redis?.stop();
  for (const scene of scenes.values()) await scene.remove();
  await rm(dir, { recursive: true, force: true });
});

const startWorker = () =>
  startSluice(
    ['worker'],
    { REDIS_URL: redis.url, SLUICE_SECRET_KEY_FILE: join(dir, 'secret') },
    /"msg":"workers.started"/,
  );

/** Runs one job in each of these ways, and waits until all of them have begun. */
async function begin(on: readonly Way[], command: (scene: Scene) => string, timeout_seconds: number | null) {
  const ids = new Map<Way, string>();
  for (const way of on) {
    await scenes.get(way)?.remove();
    const scene = await createScene();
    scenes.set(way, scene);
    const job = newJob({ host: way, command: command(scene), poll_interval: 1, timeout_seconds });
    ids.set(way, (await stores.submit(job)).id);
  }
  for (const [way, id] of ids) {
    await stateOf(stores, id, 'running');
    await sceneOf(way).begun();
  }
  return ids;
}

const sceneOf = (way: Way) => scenes.get(way) as Scene;

it('a cancel whose worker is killed while it waits for its grace is delivered by another one', async () => {
  const ids = await begin(WAYS, (scene) => scene.told, null);
  for (const id of ids.values()) {
    await stores.cancel(id, { signal: 'TERM', grace_seconds: 6, reason: null }, 'test');
  }
  for (const way of PROVEN) await until(() => sceneOf(way).has('told'), { what: `${way} to be told` });
  await worker.kill();
  worker = await startWorker();
  for (const [way, id] of ids) expect(await endOf(stores, id, 60_000)).toMatchObject(stopped(way));
  for (const way of PROVEN) expect([way, sceneOf(way).alive()]).toEqual([way, []]);
}, 120_000);

it('a timeout is kept while gateway and agents are dead, and told when they are back', async () => {
  const on = [...PROVEN, 'A'] as const;
  const ids = await begin(on, (scene) => scene.tree, 8);
  await worker.kill();
  await ways.full.kill('SIGKILL');
  for (const way of on) await ways.proxy(way).refuse();
  // What a Base agent has started goes with it: in tmux with the server.
  for (const id of ids.values()) await killProcessesOf(`${id}-1`, ['start']);
  for (const generation of PLAIN) {
    const socket = join(ways.base(generation).home, 'tmux.sock');
    await promisify(execFile)('tmux', ['-S', socket, 'kill-server']).catch(() => undefined);
  }
  for (const way of PROVEN) {
    expect([way, sceneOf(way).alive().length]).toEqual([way, 2]);
  }
  for (const way of PROVEN) {
    await until(() => sceneOf(way).alive().length === 0, {
      timeoutMs: 30_000,
      what: `the timeout on ${way}`,
    });
  }
  // Nobody on the host keeps that of a plain Base agent.
  expect(sceneOf('A').alive()).toHaveLength(2);
  await ways.full.restart();
  for (const way of on) await ways.proxy(way).accept();
  worker = await startWorker();
  for (const [way, id] of ids) {
    expect(await endOf(stores, id, 60_000)).toMatchObject({
      state: 'timed_out',
      outcome: { kind: 'timeout', return_code: null, proof: isProven(way) ? 'group+marker' : 'none' },
    });
  }
}, 180_000);
