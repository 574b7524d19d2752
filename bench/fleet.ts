/**
 * `fleet`: how many starts a second. 10,000 hosts with 10 jobs each over plain HTTP, then what TLS costs on top: the
 * first job of each host on a new connection, ten more each on connections that are kept.
 */
import { type SimulatedFleet, type Start, startSimulatedAgents } from '../test/helpers/simulated-agents.ts';
import { createDirectClient } from './direct.ts';
import { createLoad } from './load.ts';
import { cpuOf, rates, shuffled, untilStarted } from './measure.ts';
import { createRig } from './rig.ts';
import type { Options } from './scenario.ts';
import { median, type Row } from './table.ts';

const WINDOW_MS = 5_000;
const MAX_REQUESTS = 4;
const DELAY_MS: [number, number] = [30, 70];
/** As many as one worker keeps connections to. */
const KEPT_HOSTS = 1_000;
const JOBS_EACH = 10;

interface Run {
  best: number;
  mean: number;
  cpu: string;
}

export async function run({ short }: Options): Promise<Row[]> {
  const hosts = short ? 2_000 : 10_000;
  const rounds = short ? 1 : 3;
  const runs = new Map<string, { direct: Run[]; sluice: Run[] }>();
  for (let round = 0; round < rounds; round++) {
    note('plain HTTP', await plain(hosts));
    const { cold, kept } = await overTls();
    note('TLS, new connections', cold);
    note('TLS, kept connections', kept);
  }
  return [...runs].flatMap(([name, { direct, sluice }]) => {
    const count = name === 'plain HTTP' ? hosts : KEPT_HOSTS;
    const jobs = name === 'TLS, new connections' ? 1 : JOBS_EACH;
    const what = `${name}, ${count} hosts x ${jobs}`;
    return [row(what, 'direct client', direct, direct), row(what, 'Sluice', sluice, direct)];
  });

  function note(name: string, { direct, sluice }: { direct: Run; sluice: Run }): void {
    const so = runs.get(name) ?? { direct: [], sluice: [] };
    so.direct.push(direct);
    so.sluice.push(sluice);
    runs.set(name, so);
  }
}

async function plain(hosts: number) {
  const direct = await withFleet(hosts, false, async (fleet) => {
    const client = await createDirectClient(fleet.hosts, fleet);
    try {
      return await callDirectly(client, fleet, JOBS_EACH);
    } finally {
      await client.stop();
    }
  });
  const sluice = await withFleet(hosts, false, (fleet) => withSluice(fleet, 2, (start) => start(JOBS_EACH)));
  return { direct, sluice };
}

/** One worker, so that the connections are kept where the next jobs are started. */
async function overTls() {
  const direct = await withFleet(KEPT_HOSTS, true, async (fleet) => {
    const client = await createDirectClient(fleet.hosts, fleet);
    try {
      const cold = await callDirectly(client, fleet, 1);
      return { cold, kept: await callDirectly(client, fleet, JOBS_EACH) };
    } finally {
      await client.stop();
    }
  });
  const sluice = await withFleet(KEPT_HOSTS, true, (fleet) =>
    withSluice(fleet, 1, async (start) => {
      const cold = await start(1);
      return { cold, kept: await start(JOBS_EACH) };
    }),
  );
  return {
    cold: { direct: direct.cold, sluice: sluice.cold },
    kept: { direct: direct.kept, sluice: sluice.kept },
  };
}

async function withFleet<T>(
  hosts: number,
  tls: boolean,
  work: (fleet: SimulatedFleet) => Promise<T>,
): Promise<T> {
  const fleet = await startSimulatedAgents({ hosts, tls, delayMs: DELAY_MS });
  try {
    return await work(fleet);
  } finally {
    await fleet.stop();
  }
}

type DirectClient = Awaited<ReturnType<typeof createDirectClient>>;

async function callDirectly(client: DirectClient, fleet: SimulatedFleet, jobsEach: number): Promise<Run> {
  const { go } = await client.load(jobsOf(fleet, jobsEach), { maxRequests: MAX_REQUESTS, keep: true });
  await fleet.reset();
  const before = client.cpuMs();
  await go().done;
  return read(await fleet.starts(), (starts) => ((client.cpuMs() - before) / starts).toFixed(2));
}

/** The gateway with `workers`; `start` submits so many jobs for each host and lets them go once all are in. */
async function withSluice<T>(
  fleet: SimulatedFleet,
  workers: number,
  work: (start: (jobsEach: number) => Promise<Run>) => Promise<T>,
): Promise<T> {
  const rig = await createRig();
  const load = await createLoad(rig);
  try {
    await rig.api();
    await load.register(fleet.hosts, { max_requests: MAX_REQUESTS });
    await load.gate.close();
    let pids: number[] = [];
    return await work(async (jobsEach) => {
      await load.gate.close();
      await load.submit(jobsOf(fleet, jobsEach).map((i) => fleet.hosts[i]!.name));
      if (pids.length === 0) {
        pids = (await Promise.all(Array.from({ length: workers }, () => rig.worker()))).map(({ pid }) => pid);
      }
      await fleet.reset();
      const cpu = cpuOf({ workers: pids, redis: [rig.redis.pid] });
      await load.gate.open();
      await untilStarted(fleet, [...fleet.hosts.keys()], jobsEach, 600_000);
      const { workers: worker, redis } = cpu();
      const result = read(
        await fleet.starts(),
        (starts) => `${(worker / starts).toFixed(2)} + ${(redis / starts).toFixed(2)} Redis`,
      );
      const left = (await Promise.all(['queued', 'failed', 'lost'].map(load.inState))).reduce(
        (a, b) => a + b,
        0,
      );
      if (left > 0) throw new Error(`${left} jobs did not run`);
      return result;
    });
  } finally {
    await load.close();
    await rig.stop();
  }
}

function read(startsOfHosts: Start[][], cpu: (starts: number) => string): Run {
  const starts = startsOfHosts.flat();
  return { ...rates(starts, WINDOW_MS), cpu: cpu(starts.length) };
}

function jobsOf(fleet: SimulatedFleet, jobsEach: number): number[] {
  return shuffled(fleet.hosts.flatMap((_, i) => new Array<number>(jobsEach).fill(i)));
}

function row(what: string, client: string, runs: Run[], reference: Run[]): Row {
  const of = (list: Run[], field: 'best' | 'mean') => median(list.map((one) => one[field]));
  return {
    what,
    client,
    'starts/s, best 5 s': Math.round(of(runs, 'best')),
    'starts/s, mean': Math.round(of(runs, 'mean')),
    'mean of direct': (of(runs, 'mean') / of(reference, 'mean')).toFixed(2),
    'CPU ms/start': runs.at(-1)!.cpu,
  };
}
