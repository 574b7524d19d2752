/**
 * `waiting`: what 1,000, 10,000 and 100,000 running jobs on 1,000 hosts cost while nothing happens: bytes and CPU of
 * Redis and of one worker, requests to the agents, and how late questions are. Half of the hosts are held (the
 * default of one worker), the others asked every 30 s; with all jobs also none and all held.
 *
 * Each row has a worker of its own that starts with the jobs already running: what it grows by is what it keeps of
 * them, not what starting them left behind. Its memory is that after a collection of garbage.
 */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { createFollowed } from '../src/store/followed.ts';
import { type SimulatedFleet, startSimulatedAgents } from '../test/helpers/simulated-agents.ts';
import { createLoad } from './load.ts';
import { cpuOf } from './measure.ts';
import { createRig, type Program, type Rig } from './rig.ts';
import { createRunningJobs } from './running-jobs.ts';
import type { Options } from './scenario.ts';
import type { Row } from './table.ts';

const HOSTS = 1_000;
/** Until every host has been asked once, and what the start cost is paid. */
const SETTLE_MS = 40_000;
/** Two turns of every host. */
const WINDOW_MS = 60_000;
const SAMPLE_MS = 2_000;
const COLLECTIONS = 5;
const COLLECTOR = fileURLToPath(new URL('./collect-garbage.mjs', import.meta.url));

type Running = Awaited<ReturnType<typeof createRunningJobs>>;

interface Scene {
  rig: Rig;
  fleet: SimulatedFleet;
  running: Running;
  /** Bytes of Redis with the hosts and no jobs. */
  empty: number;
}

interface Measured {
  jobs: number;
  held: number;
  redisBytes: number;
  /** After a collection of garbage: all that is resident, and what the program's own objects and buffers take of it. */
  residentBytes: number;
  keptBytes: number;
  redisCpu: number;
  workerCpu: number;
  requestsPerS: number;
  lateMs: number[];
}

export async function run({ short }: Options): Promise<Row[]> {
  const fleet = await startSimulatedAgents({ hosts: HOSTS });
  const rig = await createRig();
  const running = await createRunningJobs(rig.redis.url, fleet);
  try {
    const api = await rig.api();
    const load = await createLoad(rig);
    await load.register(fleet.hosts, {});
    await load.close();
    await api.stop();
    const scene = { rig, fleet, running, empty: await usedBytes(running) };
    const steps = short ? [1, 9] : [1, 9, 90];
    const rows: Measured[] = [];
    let jobs = 0;
    for (const each of steps) {
      await running.add(each);
      jobs += each * HOSTS;
      rows.push(await measure(scene, jobs, HOSTS / 2));
    }
    if (!short) for (const held of [0, HOSTS]) rows.push(await measure(scene, jobs, held));
    return rows.map((row) => shown(row, rows[0]!));
  } finally {
    await running.close();
    await rig.stop();
    await fleet.stop();
  }
}

async function measure({ rig, fleet, running, empty }: Scene, jobs: number, held: number): Promise<Measured> {
  const worker = await rig.worker({
    SLUICE_HELD_HOSTS: String(held),
    NODE_OPTIONS: `--expose-gc --import ${COLLECTOR}`,
    BENCH_MEMORY: join(rig.redis.dir, 'memory.json'),
  });
  try {
    await running.follow();
    await pause(SETTLE_MS);
    await fleet.reset();
    const cpu = cpuOf({ redis: [rig.redis.pid], worker: [worker.pid] });
    const lateMs = await sample(running);
    const used = cpu();
    const requests = (await fleet.counters()).flatMap((host) => Object.values(host.requests));
    const share = (ms: number) => (100 * ms) / WINDOW_MS;
    return {
      jobs,
      held,
      redisBytes: (await usedBytes(running)) - empty,
      ...(await keptBytes(worker, join(rig.redis.dir, 'memory.json'))),
      redisCpu: share(used.redis),
      workerCpu: share(used.worker),
      requestsPerS: (requests.reduce((sum, count) => sum + count, 0) * 1_000) / WINDOW_MS,
      lateMs,
    };
  } finally {
    await worker.stop();
  }
}

/** Now and then the latest question of each host that has one. */
async function sample(running: Running): Promise<number[]> {
  const followed = createFollowed(running);
  const lateMs: number[] = [];
  const end = performance.now() + WINDOW_MS;
  while (performance.now() < end) {
    for (const late of await followed.unasked(0)) lateMs.push(late.lateMs);
    await pause(Math.min(SAMPLE_MS, Math.max(0, end - performance.now())));
  }
  return lateMs;
}

/** The least seen: pages that a collection freed are given back one by one. */
async function keptBytes(worker: Program, file: string) {
  const resident: number[] = [];
  const kept: number[] = [];
  for (let i = 0; i < COLLECTIONS; i++) {
    process.kill(worker.pid, 'SIGUSR2');
    await pause(SAMPLE_MS);
    const { heapUsed, external } = JSON.parse(readFileSync(file, 'utf8')) as NodeJS.MemoryUsage;
    resident.push(worker.rss());
    kept.push(heapUsed + external);
  }
  return { residentBytes: Math.min(...resident), keptBytes: Math.min(...kept) };
}

async function usedBytes({ redis }: Running): Promise<number> {
  return Number(/used_memory:(\d+)/.exec(await redis.info('memory'))?.[1]);
}

function shown(row: Measured, first: Measured): Row {
  const more = row.jobs - first.jobs;
  return {
    'running jobs': row.jobs,
    'hosts held': row.held,
    'Redis, bytes a job': Math.round(row.redisBytes / row.jobs),
    'worker resident, MB': Math.round(row.residentBytes / 1e6),
    'worker keeps, MB': Math.round(row.keptBytes / 1e6),
    'keeps, bytes a further job': more > 0 ? Math.round((row.keptBytes - first.keptBytes) / more) : '',
    'Redis, % of a core': row.redisCpu.toFixed(1),
    'worker, % of a core': row.workerCpu.toFixed(1),
    'requests/s to agents': row.requestsPerS.toFixed(1),
    'hosts late at a look': (row.lateMs.length / (WINDOW_MS / SAMPLE_MS)).toFixed(1),
    'latest, ms': row.lateMs.length > 0 ? Math.max(...row.lateMs) : 0,
  };
}
