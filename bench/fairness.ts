/**
 * `fairness`: 1,000 hosts with 15 jobs each, behind a hot host whose jobs were submitted first, some of the others
 * dead: they take requests and break them after 5 s. Beside a plain client with the same limits.
 */
import { type SimulatedFleet, startSimulatedAgents } from '../test/helpers/simulated-agents.ts';
import { createDirectClient } from './direct.ts';
import { createLoad } from './load.ts';
import { cpuOf, shuffled, untilStarted } from './measure.ts';
import { createRig } from './rig.ts';
import type { Options } from './scenario.ts';
import { median, type Row } from './table.ts';

const HOSTS = 1_000;
const HOT_JOBS = 5_000;
const JOBS_EACH = 15;
const LIMITS = { max_requests: 4, rate: { limit: 5, period_seconds: 1, burst: 5 } };
/** What a token bucket lets into one second. */
const MOST_IN_SECOND = LIMITS.rate.limit + LIMITS.rate.burst;
const HOT = 0;
const WORKERS = 2;
/** Over TLS, as agents are; and once over plain HTTP, since the handshakes, three or four a host, cost both the most. */
const CASES = [
  { dead: 0, tls: true },
  { dead: 2, tls: true },
  { dead: 50, tls: true },
  { dead: 200, tls: true },
  { dead: 200, tls: false },
];

interface Run {
  doneS: number;
  worstFirstS: number;
  hotPerS: number;
  hotInSecond: number;
  /** Hosts that saw more at once, or in one second, than their limits. */
  overCap: number;
  overRate: number;
  /** To healthy hosts but the hot one: what they cost over TLS, they cost the agents, too. */
  connectionsEach: number;
  cpuPerStart: string;
}

export async function run({ short }: Options): Promise<Row[]> {
  const rows: Row[] = [];
  for (const { dead, tls } of short ? CASES.slice(-2) : CASES) {
    const direct: Run[] = [];
    const sluice: Run[] = [];
    for (let round = 0; round < (short ? 1 : 3); round++) {
      direct.push(await withFleet(dead, tls, runDirect));
      sluice.push(await withFleet(dead, tls, runSluice));
    }
    rows.push(row(dead, tls, 'direct client', direct, direct), row(dead, tls, 'Sluice', sluice, direct));
  }
  return rows;
}

interface Scene {
  fleet: SimulatedFleet;
  /** By their places in the fleet. */
  dead: number[];
  healthy: number[];
  /** The host of each job, in the order of submission. */
  jobs: number[];
}

async function withFleet(
  deadCount: number,
  tls: boolean,
  work: (scene: Scene) => Promise<Run>,
): Promise<Run> {
  const fleet = await startSimulatedAgents({ hosts: HOSTS, tls, delayMs: [30, 70], silentMs: 5_000 });
  const others = Array.from({ length: HOSTS - 1 }, (_, i) => i + 1);
  const jobs = [
    ...new Array<number>(HOT_JOBS).fill(HOT),
    ...shuffled(others.flatMap((i) => new Array<number>(JOBS_EACH).fill(i))),
  ];
  try {
    return await work({ fleet, dead: others.slice(0, deadCount), healthy: others.slice(deadCount), jobs });
  } finally {
    await fleet.stop();
  }
}

async function runDirect({ fleet, dead, healthy, jobs }: Scene): Promise<Run> {
  const client = await createDirectClient(fleet.hosts, fleet);
  try {
    const { go } = await client.load(jobs, { maxRequests: LIMITS.max_requests, rate: LIMITS.rate });
    await fleet.silence(dead);
    const before = client.cpuMs();
    const { at } = go();
    const result = await observe(fleet, healthy, at);
    const starts = await startsOf(fleet);
    return { ...result, cpuPerStart: `${perStart(client.cpuMs() - before, starts)}` };
  } finally {
    await client.stop();
  }
}

async function runSluice({ fleet, dead, healthy, jobs }: Scene): Promise<Run> {
  const rig = await createRig();
  const load = await createLoad(rig);
  try {
    await rig.api();
    await load.register(fleet.hosts, LIMITS);
    await load.gate.close();
    // The hot host's first, one after the other in the order of the list.
    await load.submit(jobs.map((i) => fleet.hosts[i]!.name));
    const workers = await Promise.all(Array.from({ length: WORKERS }, () => rig.worker()));
    await fleet.silence(dead);
    await fleet.reset();
    const cpu = cpuOf({ workers: workers.map(({ pid }) => pid), redis: [rig.redis.pid] });
    const at = await load.gate.open();
    const result = await observe(fleet, healthy, at);
    const used = cpu();
    const starts = await startsOf(fleet);
    return {
      ...result,
      cpuPerStart: `${perStart(used.workers, starts)} + ${perStart(used.redis, starts)} Redis`,
    };
  } finally {
    await load.close();
    await rig.stop();
  }
}

/** Until all healthy hosts are done, seen from the agents. */
async function observe(
  fleet: SimulatedFleet,
  healthy: number[],
  at: number,
): Promise<Omit<Run, 'cpuPerStart'>> {
  const seen = await untilStarted(fleet, healthy, JOBS_EACH, 120_000);
  const of = healthy.map((i) => seen[i]!);
  const hot = seen[HOT]!;
  const doneS = (Math.max(...of.map(({ lastStartAt }) => lastStartAt!)) - at) / 1_000;
  const twice = await fleet.startedTwice();
  if (twice.length > 0) throw new Error(`${twice.length} jobs were started twice, such as ${twice[0]}`);
  return {
    doneS,
    worstFirstS: (Math.max(...of.map(({ firstStartAt }) => firstStartAt!)) - at) / 1_000,
    hotPerS: (hot.starts * 1_000) / (hot.lastStartAt! - hot.firstStartAt!),
    hotInSecond: hot.mostInPeriod,
    connectionsEach: of.reduce((sum, { connections }) => sum + connections, 0) / of.length,
    overCap: seen.filter(({ mostAtOnce }) => mostAtOnce > LIMITS.max_requests).length,
    overRate: seen.filter(({ mostInPeriod }) => mostInPeriod > MOST_IN_SECOND).length,
  };
}

async function startsOf(fleet: SimulatedFleet): Promise<number> {
  return (await fleet.counters()).reduce((sum, { starts }) => sum + starts, 0);
}

const perStart = (cpuMs: number, starts: number) => (cpuMs / starts).toFixed(2);

function row(dead: number, tls: boolean, who: string, runs: Run[], reference: Run[]): Row {
  const of = (list: Run[], field: Exclude<keyof Run, 'cpuPerStart'>) => median(list.map((one) => one[field]));
  const most = (field: 'hotInSecond' | 'overCap' | 'overRate') => Math.max(...runs.map((one) => one[field]));
  return {
    'dead hosts': dead,
    over: tls ? 'TLS' : 'HTTP',
    client: who,
    'all healthy done, s': of(runs, 'doneS').toFixed(1),
    'of direct': (of(runs, 'doneS') / of(reference, 'doneS')).toFixed(2),
    'worst first start, s': of(runs, 'worstFirstS').toFixed(2),
    'hot host, requests/s': of(runs, 'hotPerS').toFixed(1),
    'hot host, most in 1 s': most('hotInSecond'),
    'hosts over max_requests': most('overCap'),
    'hosts over rate': most('overRate'),
    'connections a host': of(runs, 'connectionsEach').toFixed(1),
    'CPU ms/start': runs.at(-1)!.cpuPerStart,
  };
}
