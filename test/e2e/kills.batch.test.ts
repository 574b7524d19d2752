/**
 * A batch while workers and APIs are killed at random, and Redis once: three workers, two APIs, one Redis (AOF everysec),
 * and simulated hosts that count what they start. Each host's job lasts for two seconds, so that what was under way at
 * once, and which wave came when, can be read from the starts alone.
 *
 * SLUICE_BATCH_HOSTS is for how many hosts (500), SLUICE_BATCH_KILLS how many SIGKILLs workers and APIs get (8);
 * SLUICE_KILLS_SEED makes the same choices again. `script/test-chaos batch` runs it for 2,000 hosts with 20.
 */
import { randomUUID } from 'node:crypto';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { mostAtOnce } from '../helpers/batch-fleet.ts';
import { type KillableGateway, startKillableGateway } from '../helpers/killable-gateway.ts';
import { createRandom } from '../helpers/random.ts';
import { type SimulatedFleet, type Start, startSimulatedAgents } from '../helpers/simulated-agents.ts';
import { until } from '../helpers/until.ts';

const HOSTS = Number(process.env.SLUICE_BATCH_HOSTS ?? 500);
const KILLS = Number(process.env.SLUICE_BATCH_KILLS ?? 8);
const SEED = Number(process.env.SLUICE_KILLS_SEED ?? 7);
const LASTS_MS = 2_000;
const MAX_PARALLEL = Math.ceil(HOSTS / 25);
const WAVES = [Math.ceil(HOSTS / 20), Math.ceil(HOSTS / 5), HOSTS];
const OVER = ['succeeded', 'failed', 'stopped', 'canceled'];

type Body = Record<string, unknown> & { state: string; version: number; counts: Record<string, number> };

let gateway: KillableGateway;
let fleet: SimulatedFleet;
let id: string;
let end: Body;
let starts: Start[][];
/** What was wrong with the batch whenever it was looked at. */
const wrong: string[] = [];
let stateAtLastKill = '';
let hasFailed = false;

beforeAll(
  async () => {
    gateway = await startKillableGateway();
    fleet = await startSimulatedAgents({ hosts: HOSTS, tls: false, delayMs: [5, 60] });
    const { call } = gateway.callers;
    for (let from = 0; from < HOSTS; from += 500) {
      const registered = await call('PUT', '/v1/hosts', { items: fleet.hosts.slice(from, from + 500) });
      expect(registered.status, JSON.stringify(registered.body)).toBeLessThan(300);
    }
    const body = {
      ...{ selector: 'all', command: `sleep ${LASTS_MS / 1_000}`, poll_interval: 1 },
      ...{ max_parallel: MAX_PARALLEL, waves: WAVES, max_failures: 0 },
    };
    const accepted = await call('POST', '/v1/batches', body, { 'idempotency-key': `"${randomUUID()}"` });
    expect(accepted.status, JSON.stringify(accepted.body)).toBe(202);
    id = accepted.body.id as string;
    await gateway.killAtRandom(
      createRandom(SEED, 'kills'),
      { kills: KILLS, redisKills: 1 },
      async () => {
        stateAtLastKill = (await look()).state;
      },
      async () => HOSTS - (await look()).counts.unstarted!,
    );
    end = await until(
      async () => {
        const seen = await look();
        return OVER.includes(seen.state) && seen;
      },
      { timeoutMs: 300_000, everyMs: 250, what: 'the end of the batch' },
    ).catch(look);
    starts = await fleet.starts();
    console.log(
      `seed ${SEED}: ${KILLS} processes and Redis once killed; ${HOSTS} hosts, at most ${MAX_PARALLEL} at once, ` +
        `${mostAtOnce(starts.flat(), LASTS_MS)} seen; ${JSON.stringify(end.counts)}`,
    );
  },
  420_000 + KILLS * 10_000,
);

afterEach(({ task }) => {
  hasFailed ||= task.result?.state === 'fail';
});

afterAll(async () => {
  if (hasFailed) console.log(`seed ${SEED}: logs and Redis' keys are in ${await gateway.keepEvidence()}`);
  await gateway?.stop();
  await fleet?.stop();
});

let last = 0;

/** The batch as it is now; notes what must never be. */
async function look(): Promise<Body> {
  const { body } = await gateway.callers.call('GET', `/v1/batches/${id}`);
  const seen = body as Body;
  const sum = Object.values(seen.counts).reduce((total, count) => total + count, 0);
  if (sum !== HOSTS) wrong.push(`version ${seen.version}: ${JSON.stringify(seen.counts)}`);
  if (seen.version < last) wrong.push(`version ${seen.version} after ${last}`);
  last = seen.version;
  return seen;
}

describe('with processes and Redis killed at random during a batch', () => {
  it('it ended well, and its counts were exact whenever they were read', () => {
    expect(end).toMatchObject({ state: 'succeeded', total: HOSTS, counts: { succeeded: HOSTS } });
    expect(wrong).toEqual([]);
    expect(stateAtLastKill, 'it was under way at the last kill').toBe('running');
  });

  it('each host was started exactly once', async () => {
    expect(starts.filter((ofHost) => ofHost.length !== 1)).toEqual([]);
    expect(await fleet.startedTwice()).toEqual([]);
  });

  it('never more were under way at once than it allows, as the hosts counted', () => {
    expect(mostAtOnce(starts.flat(), LASTS_MS)).toBeLessThanOrEqual(MAX_PARALLEL);
  });

  it('its waves came one after the other: none began before all of the one before had ended', async () => {
    const targets = await jobsInOrder();
    const startOf = new Map(starts.flat().map(({ token, at }) => [token.replace(/-1$/, ''), at]));
    let from = 0;
    let endOfLast = 0;
    for (const size of WAVES) {
      const wave = targets.slice(from, from + size).map((job) => startOf.get(job)!);
      expect(Math.min(...wave), `wave of ${size}`).toBeGreaterThanOrEqual(endOfLast);
      endOfLast = Math.max(...wave) + LASTS_MS;
      from += size;
    }
  });

  it('no process ended that was not killed', () => {
    expect(gateway.ends()).toEqual([]);
  });
});

/** Ids of its jobs, in the order of its targets: hosts by name, as the selector finds them. */
async function jobsInOrder(): Promise<string[]> {
  const ofHost = new Map<string, string>();
  for (let token: unknown = ''; token !== null; ) {
    const page = token === '' ? '' : `&page_token=${token}`;
    const { body } = await gateway.callers.call('GET', `/v1/batches/${id}/jobs?page_size=500${page}`);
    for (const job of body.items as { id: string; host: string }[]) ofHost.set(job.host, job.id);
    token = body.next_page_token;
  }
  return [...ofHost.keys()].sort().map((host) => ofHost.get(host)!);
}
