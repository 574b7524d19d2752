/**
 * A gateway of real processes on a Redis of its own, all of which can be killed at any moment and come up again: three
 * workers, two APIs, and the callers who use it all the same.
 */
import { randomBytes } from 'node:crypto';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import { keepEvidence } from './evidence.ts';
import { keepProcess } from './kept-process.ts';
import type { Random } from './random.ts';
import { freePort, startRedis } from './redis.ts';
import { createSteadyCallers } from './steady-callers.ts';
import { until } from './until.ts';

export type KillableGateway = Awaited<ReturnType<typeof startKillableGateway>>;

export async function startKillableGateway() {
  const dir = await mkdtemp(join(tmpdir(), 'sluice-killable-'));
  const secretKeyFile = join(dir, 'secret.key');
  await writeFile(secretKeyFile, `${randomBytes(32).toString('base64')}\n`, { mode: 0o600 });
  const redis = await startRedis();
  const apiKey = `test-${randomBytes(16).toString('hex')}`;
  const env = { REDIS_URL: redis.url, SLUICE_SECRET_KEY_FILE: secretKeyFile, SLUICE_API_KEY: apiKey };
  const addresses = [`127.0.0.1:${await freePort()}`, `127.0.0.1:${await freePort()}`];
  const processes = [
    ...[0, 1, 2].map((i) => keepProcess(`worker${i}`, ['worker'], env, '"msg":"workers.started"')),
    ...addresses.map((address, i) =>
      keepProcess(`api${i}`, ['api', '--listen', address], env, '"msg":"api.started"'),
    ),
  ];
  const callers = createSteadyCallers({ urls: addresses.map((address) => `http://${address}`), apiKey });

  async function killRedis(random: Random): Promise<void> {
    await redis.kill('SIGKILL');
    await pause(random.between(0, 1_500));
    await redis.restart();
  }

  /** Mostly one that is up: who is killed while it starts again and again does nothing worth killing. */
  async function killOne(random: Random): Promise<void> {
    const anyone = random.chance(0.2);
    const choice = random.integer(processes.length);
    const victim = await until(
      () => {
        const able = processes.filter((one) => (anyone ? one.isRunning() : one.isReady()));
        return able[choice % able.length] ?? false;
      },
      { timeoutMs: 60_000, what: 'a process to kill' },
    );
    await victim.kill();
  }

  return {
    redisUrl: redis.url,
    callers,
    /**
     * Kills workers and APIs `kills` times, and Redis `redisKills` times in between.
     * @param eachTurn is called before each kill, with its number
     * @param progress grows while work is done; by default what was acknowledged to the callers
     */
    async killAtRandom(
      random: Random,
      counts: { kills: number; redisKills: number },
      eachTurn: (turn: number) => Promise<void>,
      progress: () => number | Promise<number> = () => callers.acknowledged.length,
    ): Promise<void> {
      const turns = new Set<number>();
      while (turns.size < counts.redisKills) turns.add(1 + random.integer(counts.kills - 1));
      for (let turn = 0; turn < counts.kills; turn++) {
        await pause(random.between(100, 1_000));
        // While work is done: on a busy machine the programs take long to come up again.
        const before = await progress();
        const isUsed = async () => (await progress()) >= before + 5;
        await until(isUsed, { timeoutMs: 10_000 }).catch(() => undefined);
        await eachTurn(turn);
        if (turns.has(turn)) await killRedis(random);
        await killOne(random);
      }
    },
    /** The state of every job that there is. */
    async listJobs(): Promise<Map<string, string>> {
      const states = new Map<string, string>();
      for (let token: unknown = ''; token !== null; ) {
        const page = token === '' ? '' : `&page_token=${token}`;
        const { body } = await callers.call('GET', `/v1/jobs?page_size=500${page}`);
        for (const { id, state } of body.items as { id: string; state: string }[]) states.set(id, state);
        token = body.next_page_token;
      }
      return states;
    },
    /** What a person would look up about a job that went wrong. */
    async evidence(id: string): Promise<string> {
      const about = ['', '/events'].map((part) => callers.call('GET', `/v1/jobs/${id}${part}`));
      const found = (await Promise.all(about)).map(({ body }) => JSON.stringify(body));
      const lines = processes.flatMap(({ log }) => log.filter((line) => line.includes(id)));
      return [...found, ...lines].join('\n');
    },
    /** All logs, and Redis but for what is known by the jobs' events. @returns where they are */
    keepEvidence: (): Promise<string> =>
      keepEvidence('sluice-kills', {
        logs: new Map(processes.map(({ name, log }) => [name, log])),
        redisUrl: redis.url,
        skip: /:(job|idempotency):/,
      }),
    /** How processes ended that were not killed. */
    ends: () => processes.flatMap(({ ends }) => ends),
    async stop(): Promise<void> {
      callers.close();
      await Promise.all(processes.map((process) => process.stop()));
      await redis.stop();
      await rm(dir, { recursive: true, force: true });
    },
  };
}
