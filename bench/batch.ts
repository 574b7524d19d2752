/**
 * `batch`: one request for 10,000 hosts that were each pinged once before, over plain HTTP. With `max_parallel` 1,000 and 3
 * to 7 s a job the limit alone allows the end after 50 s; with 10,000 and jobs of no time it is a matter of starts/s.
 * Two workers and one API. Times of starts are counted at the agents.
 */
import { setTimeout as pause } from 'node:timers/promises';
import { Redis } from 'ioredis';
import { type SimulatedFleet, startSimulatedAgents } from '../test/helpers/simulated-agents.ts';
import { createLoad } from './load.ts';
import { cpuOf, rates } from './measure.ts';
import { createRig, type Program, type Rig } from './rig.ts';
import type { Options } from './scenario.ts';
import type { Row } from './table.ts';

const DELAY_MS: [number, number] = [5, 20];
const LOOK_MS = 500;
const LONGEST_MS = 600_000;
const JOB_SECONDS = { least: 3, most: 7 };

interface Scene {
  rig: Rig;
  fleet: SimulatedFleet;
  programs: { api: Program; workers: Program[] };
  /** Redis' memory in bytes. */
  usedBytes(): Promise<number>;
}

export async function run({ short }: Options): Promise<Row[]> {
  const hosts = short ? 1_000 : 10_000;
  const { least, most } = JOB_SECONDS;
  return [
    // A fleet each: the second one's hosts have not run anything before either.
    await withScene(hosts, (scene) => measure(scene, hosts / 10, `sleep ${least}-${most}`)),
    await withScene(hosts, (scene) => measure(scene, hosts, 'true')),
  ];
}

async function withScene(hosts: number, work: (scene: Scene) => Promise<Row>): Promise<Row> {
  const fleet = await startSimulatedAgents({ hosts, tls: false, delayMs: DELAY_MS });
  const rig = await createRig();
  const load = await createLoad(rig);
  const redis = new Redis(rig.redis.url);
  try {
    const api = await rig.api();
    await load.register(fleet.hosts, {});
    const workers = await Promise.all([rig.worker(), rig.worker()]);
    await untilIdle([api, ...workers, { pid: rig.redis.pid }]);
    await fleet.reset();
    const usedBytes = async () => Number(/used_memory:(\d+)/.exec(await redis.info('memory'))?.[1]);
    return await work({ rig, fleet, programs: { api, workers }, usedBytes });
  } finally {
    redis.disconnect();
    await load.close();
    await rig.stop();
    await fleet.stop();
  }
}

async function measure(scene: Scene, max_parallel: number, command: string): Promise<Row> {
  const { rig, fleet, programs, usedBytes } = scene;
  const hosts = fleet.hosts.length;
  const { api, workers } = programs;
  const empty = await usedBytes();
  const cpu = cpuOf({ api: [api.pid], workers: workers.map(({ pid }) => pid), redis: [rig.redis.pid] });
  const began = performance.now();
  const { status, body } = await rig.call('POST', '/v1/batches', { selector: 'all', command, max_parallel });
  const acceptedMs = performance.now() - began;
  if (status !== 202) throw new Error(`the batch was answered with ${status}: ${JSON.stringify(body)}`);
  const { mostBytes, mostResident, counts } = await untilOver(scene, body.id as string);
  const doneS = (performance.now() - began) / 1_000;
  const used = cpu();
  const starts = (await fleet.starts()).flat();
  const wrong = hosts - starts.length || hosts - (counts.succeeded ?? 0);
  if (wrong !== 0 || (await fleet.startedTwice()).length > 0)
    throw new Error(`not each host has run it once: ${starts.length} starts, ${JSON.stringify(counts)}`);
  const meanSeconds = command === 'true' ? 0 : (JOB_SECONDS.least + JOB_SECONDS.most) / 2;
  const allowedS = (hosts * meanSeconds) / max_parallel;
  const { mean } = rates(starts, 1_000);
  return {
    hosts,
    max_parallel,
    job: meanSeconds === 0 ? '0 s' : `${JOB_SECONDS.least}-${JOB_SECONDS.most} s`,
    'accepted, ms': Math.round(acceptedMs),
    'over, s': doneS.toFixed(1),
    'of what the limit allows': allowedS === 0 ? '' : (doneS / allowedS).toFixed(2),
    'starts/s': Math.round(mean),
    'CPU ms a host: API, workers, Redis': [used.api, used.workers, used.redis]
      .map((ms) => (ms / hosts).toFixed(2))
      .join(', '),
    'resident MB: API, workers': mostResident.map((bytes) => Math.round(bytes / 1e6)).join(', '),
    'Redis bytes a host, most': Math.round((mostBytes - empty) / hosts),
    'and after': Math.round(((await usedBytes()) - empty) / hosts),
  };
}

/** Looks now and then, as a caller would. */
async function untilOver({ rig, programs, usedBytes }: Scene, id: string) {
  const all = [programs.api, ...programs.workers];
  const mostResident = all.map(() => 0);
  const end = performance.now() + LONGEST_MS;
  let mostBytes = 0;
  for (;;) {
    const { body } = await rig.call('GET', `/v1/batches/${id}`);
    mostBytes = Math.max(mostBytes, await usedBytes());
    for (const [i, program] of all.entries()) mostResident[i] = Math.max(mostResident[i]!, program.rss());
    const counts = body.counts as Record<string, number>;
    if (body.ended_at !== null) return { mostBytes, mostResident, counts };
    if (performance.now() > end) throw new Error(`not over after ${LONGEST_MS} ms: ${JSON.stringify(body)}`);
    await pause(LOOK_MS);
  }
}

/** The checks have had every host asked about once: not what is measured here. */
async function untilIdle(programs: { pid: number }[]): Promise<void> {
  for (let quiet = 0; quiet < 3; ) {
    const used = cpuOf({ all: programs.map(({ pid }) => pid) });
    await pause(1_000);
    quiet = used().all < 300 ? quiet + 1 : 0;
  }
}
