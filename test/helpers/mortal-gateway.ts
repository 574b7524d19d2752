/**
 * A gateway of two real processes, an API and a worker, either of which can be started so that it dies at a crash
 * point; with the jobs that are submitted to it, and what was promised about them. Several of them share one Redis,
 * each under a prefix of its own.
 */
import { mkdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { expect } from 'vitest';
import { isAlive } from './alive.ts';
import { keepEvidence } from './evidence.ts';
import type { RealAgent } from './real-agent.ts';
import type { Receiver } from './receiver.ts';
import { freePort } from './redis.ts';
import { createCaller, type SluiceProcess, startSluice } from './sluice-process.ts';
import { findContradictions, findLeftovers } from './store-truth.ts';
import { openStores } from './stores.ts';
import { until } from './until.ts';

export type MortalGateway = Awaited<ReturnType<typeof startMortalGateway>>;

/** What outlives every gateway. */
export interface World {
  dir: string;
  redisUrl: string;
  secretKeyFile: string;
  apiKey: string;
  callbackSecret: string;
  receiver: Receiver;
  /** Ends that were told before the record said them, each beginning with its gateway's name. */
  toldEarly: string[];
}

/** A job, or a batch of one job, whose truth is known: its command writes a line when it starts. */
export interface Promised {
  key: string;
  kind: 'jobs' | 'batches';
  body: { command: string; poll_interval: number; callback_url: string } & (
    | { target_server: string }
    | { targets: string[] }
  );
  file: string;
  ends: { state: string; return_code: number | null };
  /** Once acknowledged. */
  id: string | null;
}

const OVER = ['succeeded', 'failed', 'timed_out', 'canceled', 'expired', 'lost'];
const TELLING_MS = 30_000;
const SUCCEEDED = { state: 'succeeded', return_code: null };

/**
 * @param name of its one host, too: the `agent`
 * @param more for the environment of both programs
 */
export async function startMortalGateway(
  world: World,
  name: string,
  agent: RealAgent,
  more: Record<string, string> = {},
) {
  const { redisUrl, receiver, apiKey } = world;
  const dir = join(world.dir, name);
  await mkdir(dir);
  const prefix = `{${name}}`;
  const port = await freePort();
  const env = {
    REDIS_URL: redisUrl,
    SLUICE_PREFIX: prefix,
    SLUICE_SECRET_KEY_FILE: world.secretKeyFile,
    SLUICE_API_KEY: apiKey,
    SLUICE_CALLBACK_SECRET: world.callbackSecret,
    SLUICE_WEBHOOKS_ALLOW: '127.0.0.0/8',
    SLUICE_WEBHOOKS_SCHEDULE_SECONDS: '1,1,1,1,1,1',
    // A dead sender's deliveries come back 5 s after this.
    SLUICE_WEBHOOKS_TIMEOUT_SECONDS: '1',
    // Questions are asked by polls, so that each of their steps is passed.
    SLUICE_HELD_HOSTS: '0',
    ...more,
  };
  const stores = await openStores(redisUrl, { prefix });
  const call = createCaller(() => `http://127.0.0.1:${port}`, apiKey);
  const promised: Promised[] = [];
  let count = 0;
  const lives: { program: string; process: SluiceProcess }[] = [];
  const latest = (program: string) => lives.findLast((life) => life.program === program)?.process;

  async function start(program: 'api' | 'worker', crashAt: string) {
    const args = program === 'api' ? ['api', '--listen', `127.0.0.1:${port}`] : ['worker'];
    const ready = program === 'api' ? /"msg":"api.started"/ : /"msg":"workers.started"/;
    const process = await startSluice(args, { ...env, SLUICE_CRASH_AT: crashAt }, ready);
    lives.push({ program, process });
  }

  /** Asks for it until it is acknowledged, as a caller does who wants his job. */
  async function submit(job: Promised): Promise<void> {
    const reply = await call('POST', `/v1/${job.kind}`, job.body, { 'idempotency-key': `"${job.key}"` });
    expect([200, 202], JSON.stringify(reply.body)).toContain(reply.status);
    const id = reply.body.id as string;
    if (job.id !== null) expect(id, 'the job of this key').toBe(job.id);
    job.id = id;
  }

  function promise(command: string, ends: Promised['ends'], kind: Promised['kind'] = 'jobs'): Promised {
    const key = `${name}-${count++}`;
    const file = join(dir, key);
    const body = {
      ...(kind === 'jobs' ? { target_server: name } : { targets: [name] }),
      command: `echo started >> ${file}; ${command}`,
      poll_interval: 1,
      callback_url: `${receiver.url}/${name}`,
    };
    const job: Promised = { key, kind, body, file, ends, id: null };
    promised.push(job);
    return job;
  }

  async function jobOf({ id, kind }: Promised) {
    return (await call('GET', `/v1/${kind}/${id}`)).body;
  }

  async function brokenAbout(job: Promised): Promise<string[]> {
    const { id, key, ends } = job;
    const isOver = async () => {
      const found = await jobOf(job);
      return OVER.includes(found.state as string) && found;
    };
    const end = await until(isOver, { timeoutMs: 60_000, everyMs: 100 }).catch(() => null);
    const starts = (await readFile(job.file, 'utf8')).split('started').length - 1;
    const told = () =>
      receiver.received.filter(({ body }) => body.data.id === id && body.type !== 'batch.paused');
    const hasHeard = () => told().some(({ body }) => body.data.state === ends.state);
    await until(hasHeard, { timeoutMs: end ? TELLING_MS : 0 }).catch(() => undefined);
    const message = new Set(told().map((each) => each.id));
    const unsigned = told().filter(({ verifiedBy }) => verifiedBy.length !== 1);
    return [
      ...(end === null ? [`lost: ${key} is not over`] : []),
      ...(end && (end.state !== ends.state || (end.return_code ?? null) !== ends.return_code)
        ? [`false end: ${key} is ${end.state} ${end.return_code}`]
        : []),
      ...(starts > 1 ? [`doubled: ${key} was started ${starts} times`] : []),
      ...(starts === 0 ? [`false end: ${key} was never started`] : []),
      ...(hasHeard() ? [] : [`untold: nobody heard that ${key} is ${ends.state}`]),
      ...(message.size > 1 ? [`told anew: ${key} was told under ${message.size} ids`] : []),
      ...unsigned.map(() => `unsigned: a webhook of ${key}`),
    ];
  }

  /** What a dead process held comes back by its lease. */
  async function leftovers(): Promise<string[]> {
    const isClear = async () => (await findLeftovers(stores)).length === 0;
    await until(isClear, { timeoutMs: 30_000, everyMs: 100 }).catch(() => undefined);
    return findLeftovers(stores);
  }

  return {
    name,
    stores,
    call,
    startApi: (crashAt = '') => start('api', crashAt),
    startWorker: (crashAt = '') => start('worker', crashAt),
    stopApi: async () => latest('api')?.kill('SIGTERM'),
    stopWorker: async () => latest('worker')?.kill('SIGTERM'),

    async registerHost(): Promise<void> {
      const { address, token, fingerprint } = agent;
      const put = await call('PUT', `/v1/hosts/${name}`, { address, token, tls: { fingerprint } });
      expect(put.status).toBe(201);
    },
    /** Waits until the program has died by itself. */
    async died(program: 'api' | 'worker'): Promise<void> {
      const pid = latest(program)?.pid ?? 0;
      await until(() => !isAlive(pid), { timeoutMs: 30_000, what: `the death of the ${program}` });
    },

    promise,
    submit,
    leftovers,
    jobOf,
    /** Four jobs that end by themselves, well and badly, at once and later. */
    async submitSome(): Promise<void> {
      for (const [seconds, code] of [
        [0, 0],
        [0.6, 7],
        [1.2, 0],
        [1.5, 7],
      ] as const) {
        const state = code === 0 ? 'succeeded' : 'failed';
        await submit(promise(`sleep ${seconds}; exit ${code}`, { state, return_code: code }));
      }
    },
    /** One that runs until it is cancelled. */
    async submitEndless(): Promise<Promised> {
      const job = promise('sleep 300', { state: 'canceled', return_code: 143 });
      await submit(job);
      await until(async () => (await jobOf(job)).state === 'running', { what: `${job.key} running` });
      return job;
    },
    /** As callers do who had no reply. */
    async repeatUnanswered(): Promise<void> {
      for (const job of promised) await submit(job);
    },
    /** Its record is gone by now. */
    forget(job: Promised): void {
      promised.splice(promised.indexOf(job), 1);
    },
    /** A batch with one job, which ends by itself unless another command is given. */
    async submitBatch(command = 'sleep 0.5', ends: Promised['ends'] = SUCCEEDED): Promise<Promised> {
      const batch = promise(command, ends, 'batches');
      await submit(batch);
      return batch;
    },
    async cancel({ id, kind }: Promised): Promise<void> {
      const { status, body } = await call('POST', `/v1/${kind}/${id}:cancel`, {});
      expect([200, 202], JSON.stringify(body)).toContain(status);
    },

    /** What was acknowledged and did not come out of it, and what is left: none where all promises are kept. */
    async brokenPromises(): Promise<string[]> {
      const broken = await Promise.all(promised.map(brokenAbout));
      const early = world.toldEarly.filter((each) => each.startsWith(name));
      const left = (await leftovers()).map((each) => `left: ${each}`);
      const contradictions = (await findContradictions(stores)).map((each) => `contradiction: ${each}`);
      return [
        ...broken.flat(),
        ...early.map((each) => `told before committed: ${each}`),
        ...left,
        ...contradictions,
      ];
    },

    async keepEvidence(): Promise<string> {
      const logs = new Map(
        lives.map(({ program, process }, i) => [`${i}-${program}`, process.output().split('\n')] as const),
      );
      return keepEvidence(`sluice-${name}`, { logs, redisUrl, skip: new RegExp(`^(?!${prefix}:)`) });
    },
    async stop(): Promise<void> {
      await Promise.all(lives.map(({ process }) => process.kill()));
      await stores.close();
    },
  };
}
