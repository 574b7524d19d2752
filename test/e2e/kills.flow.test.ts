/**
 * The limits of hosts, and all promises about jobs, while workers, APIs and Redis are killed at random under load:
 * three workers, two APIs, one Redis (AOF everysec), and hosts of all kinds of limits that count what they see.
 *
 * SLUICE_KILLS is how many SIGKILLs workers and APIs get (30), one in fifteen as many Redis gets; SLUICE_KILLS_SEED
 * makes the same choices again. `script/test-chaos` runs it for longer.
 */
import { Redis } from 'ioredis';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { createKeys } from '../../src/store/keys.ts';
import { type KillableGateway, startKillableGateway } from '../helpers/killable-gateway.ts';
import { createRandom, type Random } from '../helpers/random.ts';
import { type HostCounters, type SimulatedFleet, startSimulatedAgents } from '../helpers/simulated-agents.ts';
import type { Acknowledged, Order } from '../helpers/steady-callers.ts';
import { until } from '../helpers/until.ts';

const KILLS = Math.max(10, Number(process.env.SLUICE_KILLS ?? 30));
const REDIS_KILLS = Math.max(2, Math.round(KILLS / 15));
const SEED = Number(process.env.SLUICE_KILLS_SEED ?? 4);
const CALLERS = 4;
const PERIOD_SECONDS = 5;

/** Each kind of limit alone, all together, and none. */
const LIMITS = [
  { max_requests: 4 },
  { max_requests: 2 },
  { max_requests: 1 },
  { max_requests: 4, max_jobs: 2 },
  { max_requests: 2, max_jobs: 1 },
  { max_requests: 4, max_jobs: 5 },
  { max_requests: 4, rate: { limit: 20, period_seconds: PERIOD_SECONDS, burst: 4 } },
  { max_requests: 4, rate: { limit: 10, period_seconds: PERIOD_SECONDS, burst: 1 } },
  { max_requests: 2, max_jobs: 3, rate: { limit: 20, period_seconds: PERIOD_SECONDS, burst: 2 } },
] as const;
/** One host in turn answers nobody for some kills out of so many. */
const SILENCE = { every: 10, lasts: 4 };

const OVER = ['succeeded', 'failed', 'canceled'];

let gateway: KillableGateway;
let fleet: SimulatedFleet;
let counters: HostCounters[];
let jobs: Acknowledged[];
let hasFailed = false;

beforeAll(
  async () => {
    gateway = await startKillableGateway();
    fleet = await startSimulatedAgents({
      ...{ hosts: LIMITS.length, tls: false, delayMs: [5, 60], periodMs: PERIOD_SECONDS * 1_000 },
      silentMs: 2_000,
    });
    jobs = gateway.callers.acknowledged;
    await registerHosts();
    await submitWhileKilling();
    await until(async () => (await unfinished()).length === 0, { timeoutMs: 90_000, everyMs: 500 }).catch(
      () => undefined,
    );
    counters = await fleet.counters();
    const sum = (what: 'starts' | 'repeated') => counters.reduce((total, host) => total + host[what], 0);
    console.log(
      `seed ${SEED}: ${KILLS} processes and Redis ${REDIS_KILLS} times killed; ${jobs.length} jobs, ` +
        `${gateway.callers.repeated()} requests repeated, ${sum('starts')} starts, ` +
        `${sum('repeated')} of them asked for again`,
    );
  },
  180_000 + KILLS * 10_000,
);

afterEach(({ task }) => {
  hasFailed ||= task.result?.state === 'fail';
});

afterAll(async () => {
  if (hasFailed) console.log(`seed ${SEED}: logs and Redis' keys are in ${await gateway.keepEvidence()}`);
  await gateway?.stop();
  await fleet?.stop();
});

describe('with processes and Redis killed at random', () => {
  it('no acknowledged job is missing, and each is the one that its key stands for', async () => {
    for (const job of jobs) {
      const { body } = await gateway.callers.submit(job);
      if (body.id !== job.id) expect(body, await gateway.evidence(job.id)).toMatchObject({ id: job.id });
    }
    expect((await gateway.listJobs()).size).toBe(jobs.length);
  });

  it('every job ended as its command does, or as it was told to', async () => {
    const [left] = await unfinished();
    expect(left, left && (await gateway.evidence(left))).toBe(undefined);
    for (const { id, order, canceled } of jobs) {
      const { body } = await gateway.callers.call('GET', `/v1/jobs/${id}`);
      const own = order.command === 'exit 3' ? 'failed 3' : 'succeeded 0';
      const ended = `${body.state} ${body.return_code}`;
      const isRight = ended === own || (canceled && body.state === 'canceled');
      if (!isRight) expect(ended, await gateway.evidence(id)).toBe(own);
    }
  });

  it('nothing was started twice, nothing was left out, and nothing that nobody was told of', async () => {
    const [twice] = await fleet.startedTwice();
    expect(twice, twice && (await gateway.evidence(twice))).toBe(undefined);
    const started = (await fleet.starts()).flat().map(({ token }) => token.replace(/-1$/, ''));
    const known = new Set(jobs.map(({ id }) => id));
    expect(started.filter((id) => !known.has(id))).toEqual([]);
    const states = await gateway.listJobs();
    const missing = new Set(jobs.map(({ id }) => id).filter((id) => states.get(id) !== 'canceled'));
    for (const id of started) missing.delete(id);
    expect([...missing]).toEqual([]);
  });

  it.each(LIMITS.map((limits, i) => ({ limits, i, said: JSON.stringify(limits) })))(
    'a host with $said saw no more',
    ({ limits, i }) => {
      const seen = counters[i]!;
      expect(seen.mostAtOnce, JSON.stringify(seen.atMost)).toBeLessThanOrEqual(limits.max_requests);
      if ('max_jobs' in limits) expect(seen.mostRunning).toBeLessThanOrEqual(limits.max_jobs);
      if ('rate' in limits) {
        // A request is counted when it comes, and paid for when it is sent: on a busy machine up to a second earlier.
        const late = limits.rate.limit / PERIOD_SECONDS;
        expect(seen.mostInPeriod).toBeLessThanOrEqual(limits.rate.limit + limits.rate.burst + late);
      }
    },
  );

  it('every host is drained: nothing waits, runs or holds a place there', async () => {
    const client = new Redis(gateway.redisUrl);
    const keys = createKeys('{sluice}');
    for (const { name } of fleet.hosts) {
      const places = [keys.mailbox, keys.ready, keys.activeJobs, keys.followed].map((key) => key(name));
      expect(await client.exists(...places), name).toBe(0);
      // What a killed process held comes back by its lease.
      await until(async () => (await client.zcount(keys.slots(name), Date.now(), '+inf')) === 0, {
        timeoutMs: 20_000,
        what: `free slots of ${name}`,
      });
    }
    client.disconnect();
  });

  it('no process ended that was not killed', () => {
    expect(gateway.ends()).toEqual([]);
  });
});

async function registerHosts(): Promise<void> {
  for (const [i, limits] of LIMITS.entries()) {
    const body = { ...fleet.registration(i), ...limits };
    const { status } = await gateway.callers.call('PUT', `/v1/hosts/${fleet.hosts[i]!.name}`, body);
    expect(status).toBe(201);
  }
}

async function submitWhileKilling(): Promise<void> {
  const over = new AbortController();
  const submitting = Promise.all(
    Array.from({ length: CALLERS }, (_, i) => {
      const random = createRandom(SEED, `caller ${i}`);
      return gateway.callers.keepSubmitting(random, () => order(random), over.signal);
    }),
  );
  const random = createRandom(SEED, 'silence');
  const killing = gateway.killAtRandom(
    createRandom(SEED, 'kills'),
    { kills: KILLS, redisKills: REDIS_KILLS },
    async (turn) => {
      if (turn % SILENCE.every === 0) await fleet.silence([random.integer(LIMITS.length)]);
      if (turn % SILENCE.every === SILENCE.lasts) await fleet.revive([...LIMITS.keys()]);
    },
  );
  // Callers that fail end it, too.
  await Promise.race([killing, submitting]).finally(() => over.abort());
  await submitting;
  await fleet.revive([...LIMITS.keys()]);
}

function order(random: Random): Order {
  const target_server = fleet.hosts[random.integer(LIMITS.length)]!.name;
  const long = random.chance(0.3) ? `sleep ${random.between(0.2, 1.5).toFixed(1)}` : 'true';
  return {
    target_server,
    command: random.chance(0.1) ? 'exit 3' : long,
    priority: random.integer(10),
  };
}

/** Ids of acknowledged jobs that are not over. */
async function unfinished(): Promise<string[]> {
  const states = await gateway.listJobs();
  return jobs.map(({ id }) => id).filter((id) => !OVER.includes(states.get(id) ?? ''));
}
