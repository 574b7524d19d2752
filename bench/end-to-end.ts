/**
 * `end-to-end`: jobs/s of `true` through eight real agents and of a no-op through 200 simulated ones, from the first
 * request to the last record, all at once: accepting, starting, settling. Beside a plain client's calls.
 */
import { startRealAgent } from '../test/helpers/real-agent.ts';
import { startSimulatedAgents } from '../test/helpers/simulated-agents.ts';
import { until } from '../test/helpers/until.ts';
import { createDirectClient } from './direct.ts';
import { createLoad, type LoadHost } from './load.ts';
import { createRig } from './rig.ts';
import type { Options } from './scenario.ts';
import { median, type Row } from './table.ts';

const REAL = { agents: 8, jobs: 400, maxRequests: 8 };
const SIMULATED = { agents: 200, jobs: 10_000, maxRequests: 4 };
/** A command on an idle real host takes less; the plain client sees its end in the reply. */
const WAIT_SECONDS = 10;

export async function run({ short }: Options): Promise<Row[]> {
  const rounds = short ? 1 : 3;
  return [...(await throughReal(rounds)), ...(await throughSimulated(rounds))];
}

async function throughReal(rounds: number): Promise<Row[]> {
  const agents = await Promise.all(Array.from({ length: REAL.agents }, () => startRealAgent()));
  const hosts = agents.map(({ address, token, fingerprint }, i) => {
    return { name: `real-${i}`, address, token, tls: { fingerprint } };
  });
  try {
    return await compare('real', hosts, REAL, rounds);
  } finally {
    for (const agent of agents) await agent.stop();
  }
}

async function throughSimulated(rounds: number): Promise<Row[]> {
  const fleet = await startSimulatedAgents({ hosts: SIMULATED.agents, delayMs: [30, 70] });
  try {
    return await compare('simulated', fleet.hosts, SIMULATED, rounds);
  } finally {
    await fleet.stop();
  }
}

/** In turn, both with connections that are open and agents that have been asked before. */
async function compare(kind: string, hosts: LoadHost[], size: typeof REAL, rounds: number): Promise<Row[]> {
  const rig = await createRig();
  const load = await createLoad(rig);
  const client = await createDirectClient(hosts);
  const jobs = Array.from({ length: size.jobs }, (_, i) => i % hosts.length);
  const rates = { direct: [] as number[], sluice: [] as number[] };
  const directly = async (some: number[]) => {
    const limits = { maxRequests: size.maxRequests, waitSeconds: WAIT_SECONDS, keep: true };
    const { go } = await client.load(some, limits);
    return timed(some.length, () => go().done);
  };
  let done = 0;
  const throughGateway = (some: number[]) =>
    timed(some.length, async () => {
      await load.submit(some.map((i) => hosts[i]!.name));
      done += some.length;
      const isOver = async () => (await load.inState('succeeded')) === done;
      await until(isOver, { timeoutMs: 120_000, what: 'the end of all jobs' });
    });
  try {
    await rig.api();
    await rig.worker();
    await load.register(hosts, { max_requests: size.maxRequests });
    await directly([...hosts.keys()]);
    await throughGateway([...hosts.keys()]);
    for (let round = 0; round < rounds; round++) {
      rates.direct.push(await directly(jobs));
      rates.sluice.push(await throughGateway(jobs));
    }
  } finally {
    await client.stop();
    await load.close();
    await rig.stop();
  }
  const reference = median(rates.direct);
  return (['direct', 'sluice'] as const).map((who) => ({
    agents: `${hosts.length} ${kind}`,
    jobs: size.jobs,
    client: who === 'direct' ? 'direct client' : 'Sluice',
    'jobs/s (median)': Math.round(median(rates[who])),
    worst: Math.round(Math.min(...rates[who])),
    best: Math.round(Math.max(...rates[who])),
    'of direct': (median(rates[who]) / reference).toFixed(2),
  }));
}

/** @returns jobs/s */
async function timed(jobs: number, work: () => Promise<unknown>): Promise<number> {
  const began = performance.now();
  await work();
  return jobs / ((performance.now() - began) / 1_000);
}
