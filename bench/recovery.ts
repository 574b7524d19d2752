/**
 * `recovery`: from the SIGKILL of a worker to the next start at each host whose jobs it was starting, with another
 * worker there that had nothing to do until then. Some starts were under way: their jobs come back by their leases,
 * and are started once all the same.
 */
import { setTimeout as pause } from 'node:timers/promises';
import { startSimulatedAgents } from '../test/helpers/simulated-agents.ts';
import { until } from '../test/helpers/until.ts';
import { createLoad } from './load.ts';
import { createRig } from './rig.ts';
import type { Options } from './scenario.ts';
import { quantile, type Row } from './table.ts';

const HOSTS = 50;
const JOBS_EACH = 100;
/** Of an agent's reply: so long is a start under way. */
const DELAY_MS: [number, number] = [500, 1_000];
const LIMITS = { max_requests: 4 };

export async function run({ short }: Options): Promise<Row[]> {
  const rows: Row[] = [];
  for (let round = 1; round <= (short ? 1 : 5); round++) rows.push(await killOne(round));
  return rows;
}

async function killOne(round: number): Promise<Row> {
  const fleet = await startSimulatedAgents({ hosts: HOSTS, delayMs: DELAY_MS });
  const rig = await createRig();
  const load = await createLoad(rig);
  try {
    await rig.api();
    await load.register(fleet.hosts, LIMITS);
    const victim = await rig.worker();
    await load.submit(fleet.hosts.flatMap(({ name }) => new Array<string>(JOBS_EACH).fill(name)));
    const allHaveStarted = async () =>
      (await fleet.counters()).every(({ starts }) => starts >= LIMITS.max_requests);
    await until(allHaveStarted, { timeoutMs: 30_000, what: 'starts at every host' });
    await rig.worker();
    // Not always at the same point between two looks for what has stalled.
    await pause(Math.random() * 5_000);
    const before = (await fleet.counters()).reduce((sum, { starts }) => sum + starts, 0);
    const killedAt = performance.timeOrigin + performance.now();
    await victim.kill();
    const firstAfter = async () =>
      (await fleet.starts()).map((starts) => starts.find(({ at }) => at > killedAt + DELAY_MS[1])?.at);
    const went = async () => (await firstAfter()).every((at) => at !== undefined);
    await until(went, { timeoutMs: 60_000, everyMs: 200, what: 'a start at every host' });
    const seconds = (await firstAfter()).map((at) => ((at ?? Number.NaN) - killedAt) / 1_000);
    const allDone = async () => (await load.inState('succeeded')) === HOSTS * JOBS_EACH;
    await until(allDone, { timeoutMs: 120_000, everyMs: 200, what: 'the end of all jobs' });
    return {
      round,
      'hosts held': HOSTS,
      'jobs left': HOSTS * JOBS_EACH - before,
      'first host started again after, s': Math.min(...seconds).toFixed(1),
      'median host, s': quantile(seconds, 0.5).toFixed(1),
      'last host, s': Math.max(...seconds).toFixed(1),
      'started twice': (await fleet.startedTwice()).length,
    };
  } finally {
    await load.close();
    await rig.stop();
    await fleet.stop();
  }
}
