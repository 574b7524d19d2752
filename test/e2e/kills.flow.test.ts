/**
 * The limits of hosts, and all promises about jobs, while workers, APIs and Redis are killed at random under load:
 * three workers, two APIs, one Redis (AOF everysec), and hosts of all kinds of limits that count what they see.
 *
 * SLUICE_KILLS is how many SIGKILLs workers and APIs get (30), one in fifteen as many Redis gets; SLUICE_KILLS_SEED
 * makes the same choices again. `script/test-chaos` runs it for longer.
 */
import { randomBytes } from 'node:crypto';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import { isDeepStrictEqual } from 'node:util';
import { Redis } from 'ioredis';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { createKeys } from '../../src/store/keys.ts';
import { type KeptProcess, keepProcess } from '../helpers/kept-process.ts';
import { createRandom, type Random } from '../helpers/random.ts';
import { freePort, startRedis, type TestRedis } from '../helpers/redis.ts';
import { type HostCounters, type SimulatedFleet, startSimulatedAgents } from '../helpers/simulated-agents.ts';
import { createSteadyCallers, type Order } from '../helpers/steady-callers.ts';
import { until } from '../helpers/until.ts';

const KILLS = Number(process.env.SLUICE_KILLS ?? 30);
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
const HOSTS = LIMITS.length;
/** It answers nobody for some of the time. */
const SILENT = 0;

const OVER = ['succeeded', 'failed'];

let dir: string;
let redis: TestRedis;
let fleet: SimulatedFleet;
let workers: KeptProcess[] = [];
let apis: KeptProcess[] = [];
let callers: ReturnType<typeof createSteadyCallers>;
let counters: HostCounters[];

beforeAll(
  async () => {
    await startAll();
    await registerHosts();
    const over = new AbortController();
    const submitting = Array.from({ length: CALLERS }, (_, i) => {
      const random = createRandom(SEED, `caller ${i}`);
      return callers.keepSubmitting(random, () => order(random), over.signal);
    });
    await Promise.race([killAtRandom(createRandom(SEED, 'kills')), Promise.all(submitting)]);
    over.abort();
    await Promise.all(submitting);
    await until(async () => (await unfinished()).length === 0, { timeoutMs: 60_000, everyMs: 500 }).catch(
      () => undefined,
    );
    counters = await fleet.counters();
    const sum = (what: 'starts' | 'repeated') => counters.reduce((total, host) => total + host[what], 0);
    console.log(
      `seed ${SEED}: ${KILLS} processes and Redis ${REDIS_KILLS} times killed; ${callers.acknowledged.length} jobs, ` +
        `${callers.repeated()} requests repeated, ${sum('starts')} starts, ${sum('repeated')} of them asked for again`,
    );
  },
  120_000 + KILLS * 3_000,
);

afterAll(async () => {
  await Promise.all([...workers, ...apis].map((process) => process.stop()));
  await fleet?.stop();
  await redis?.stop();
  await rm(dir, { recursive: true, force: true });
}, 60_000);

describe('with processes and Redis killed at random', () => {
  it('no acknowledged job is missing, and each is the one that its key stands for', async () => {
    for (const job of callers.acknowledged) {
      const { body } = await callers.submit(job);
      if (body.id !== job.id) expect(body, await evidence(job.id)).toMatchObject({ id: job.id });
    }
    expect((await listJobs()).size).toBe(callers.acknowledged.length);
  });

  it('every job ended as its command does', async () => {
    const left = await unfinished();
    expect(left, await evidence(left[0])).toEqual([]);
    for (const { id, order } of callers.acknowledged) {
      const { body } = await callers.call('GET', `/v1/jobs/${id}`);
      const expected = order.command === 'exit 3' ? ['failed', 3] : ['succeeded', 0];
      const ended = [body.state, body.return_code];
      expect(ended, isDeepStrictEqual(ended, expected) ? '' : await evidence(id)).toEqual(expected);
    }
  });

  it('nothing was started twice, and nothing that nobody was told of', async () => {
    const [twice] = await fleet.startedTwice();
    expect(twice, await evidence(twice)).toBe(undefined);
    const known = new Set(callers.acknowledged.map(({ id }) => id));
    const tokens = (await fleet.starts()).flat().map(({ token }) => token);
    expect(tokens.filter((token) => !known.has(token.replace(/-1$/, '')))).toEqual([]);
    expect(tokens).toHaveLength(callers.acknowledged.length);
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
    const client = new Redis(redis.url);
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
    expect([...workers, ...apis].flatMap(({ ends }) => ends)).toEqual([]);
  });
});

async function startAll(): Promise<void> {
  dir = await mkdtemp(join(tmpdir(), 'sluice-kills-'));
  const secretKeyFile = join(dir, 'secret.key');
  await writeFile(secretKeyFile, `${randomBytes(32).toString('base64')}\n`, { mode: 0o600 });
  redis = await startRedis();
  fleet = await startSimulatedAgents({
    ...{ hosts: HOSTS, tls: false, delayMs: [5, 60], periodMs: PERIOD_SECONDS * 1_000, silentMs: 2_000 },
  });
  const apiKey = `test-${randomBytes(16).toString('hex')}`;
  const env = { REDIS_URL: redis.url, SLUICE_SECRET_KEY_FILE: secretKeyFile, SLUICE_API_KEY: apiKey };
  const addresses = [`127.0.0.1:${await freePort()}`, `127.0.0.1:${await freePort()}`];
  apis = addresses.map((address, i) =>
    keepProcess(`api${i}`, ['api', '--listen', address], env, '"msg":"api.started"'),
  );
  workers = [0, 1, 2].map((i) => keepProcess(`worker${i}`, ['worker'], env, '"msg":"workers.started"'));
  callers = createSteadyCallers({ urls: addresses.map((address) => `http://${address}`), apiKey });
}

async function registerHosts(): Promise<void> {
  for (const [i, limits] of LIMITS.entries()) {
    const body = { ...fleet.registration(i), ...limits };
    const { status } = await callers.call('PUT', `/v1/hosts/${fleet.hosts[i]!.name}`, body);
    expect(status).toBe(201);
  }
}

function order(random: Random): Order {
  const target_server = fleet.hosts[random.integer(HOSTS)]!.name;
  const long = random.chance(0.3) ? `sleep ${random.between(0.2, 1.5).toFixed(1)}` : 'true';
  return {
    target_server,
    command: random.chance(0.1) ? 'exit 3' : long,
    priority: random.integer(10),
  };
}

/** Mostly of processes that are up: one that is killed while it starts again and again does nothing worth killing. */
async function killAtRandom(random: Random): Promise<void> {
  const all = [...workers, ...apis];
  const turns = new Set<number>();
  while (turns.size < REDIS_KILLS) turns.add(1 + random.integer(KILLS - 1));
  const silence = 1 + random.integer(KILLS - 1);
  for (let kill = 0; kill < KILLS; kill++) {
    await pause(random.between(100, 1_000));
    // While work is done: on a busy machine the programs take long to come up again.
    const before = callers.acknowledged.length;
    await until(() => callers.acknowledged.length >= before + 5, { timeoutMs: 15_000 }).catch(
      () => undefined,
    );
    if (kill === silence) await fleet.silence([SILENT]);
    if (kill === silence + 4) await fleet.revive([SILENT]);
    if (turns.has(kill)) {
      await redis.kill('SIGKILL');
      await pause(random.between(0, 1_500));
      await redis.restart();
    }
    const anyone = random.chance(0.2);
    const choice = random.integer(all.length);
    const victim = await until(
      () => {
        const able = all.filter((one) => (anyone ? one.isRunning() : one.isReady()));
        return able[choice % able.length] ?? false;
      },
      { timeoutMs: 60_000, what: 'a process to kill' },
    );
    await victim.kill();
  }
  await fleet.revive([SILENT]);
}

/** Ids of acknowledged jobs that are not over. */
async function unfinished(): Promise<string[]> {
  const states = await listJobs();
  return callers.acknowledged.map(({ id }) => id).filter((id) => !OVER.includes(states.get(id) ?? ''));
}

/** The state of every job that there is. */
async function listJobs(): Promise<Map<string, string>> {
  const states = new Map<string, string>();
  for (let token: unknown = ''; token !== null; ) {
    const { body } = await callers.call('GET', `/v1/jobs?page_size=500${token && `&page_token=${token}`}`);
    for (const { id, state } of body.items as { id: string; state: string }[]) states.set(id, state);
    token = body.next_page_token;
  }
  return states;
}

/** What a person would look up about a job that went wrong. */
async function evidence(id: string | undefined): Promise<string> {
  if (id === undefined) return '';
  const [job, events] = await Promise.all(
    ['', '/events'].map((part) => callers.call('GET', `/v1/jobs/${id}${part}`)),
  );
  const lines = [...workers, ...apis].flatMap((process) => process.linesWith(id));
  return [JSON.stringify(job?.body), JSON.stringify(events?.body.items), ...lines].join('\n');
}
