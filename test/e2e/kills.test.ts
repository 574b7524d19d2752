/**
 * The promises of the job states while everything is killed: agent, worker, API and Redis, each once, while jobs
 * run. Starts are counted by the hosts (each command appends a line to a file of its own), ends by the records,
 * and what callers are told by a receiver.
 */
import { randomBytes } from 'node:crypto';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { type RealAgent, startRealAgent } from '../helpers/real-agent.ts';
import { type Receiver, startReceiver } from '../helpers/receiver.ts';
import { freePort, startRedis, type TestRedis } from '../helpers/redis.ts';
import { createCaller, type SluiceProcess, startSluice } from '../helpers/sluice-process.ts';
import { expectPromisesKept, submitTen, type TenJobs } from '../helpers/ten-jobs.ts';

const API_KEY = `test-${randomBytes(16).toString('hex')}`;
const CALLBACK_SECRET = `whsec_${randomBytes(32).toString('base64')}`;

let dir: string;
let redis: TestRedis;
let receiver: Receiver;
let agents: RealAgent[];
let api: SluiceProcess;
let worker: SluiceProcess;
let env: Record<string, string>;
let port: number;

const call = createCaller(() => `http://127.0.0.1:${port}`, API_KEY);
const startApi = () => startSluice(['api', '--listen', `127.0.0.1:${port}`], env, /"msg":"api.started"/);
const startWorker = () => startSluice(['worker'], env, /"msg":"workers.started"/);

beforeAll(async () => {
  dir = await mkdtemp(join(tmpdir(), 'sluice-kills-'));
  const secretKeyFile = join(dir, 'secret.key');
  await writeFile(secretKeyFile, `${randomBytes(32).toString('base64')}\n`, { mode: 0o600 });
  [redis, receiver, port] = await Promise.all([
    startRedis(),
    startReceiver({ secrets: [CALLBACK_SECRET] }),
    freePort(),
  ]);
  agents = await Promise.all([startRealAgent(), startRealAgent()]);
  env = {
    REDIS_URL: redis.url,
    SLUICE_SECRET_KEY_FILE: secretKeyFile,
    SLUICE_API_KEY: API_KEY,
    SLUICE_CALLBACK_SECRET: CALLBACK_SECRET,
    SLUICE_WEBHOOKS_ALLOW: '127.0.0.0/8',
    SLUICE_WEBHOOKS_SCHEDULE_SECONDS: '1,1,1,1,1,1',
  };
  [api, worker] = await Promise.all([startApi(), startWorker()]);
  for (const [i, agent] of agents.entries()) {
    const { address, token, fingerprint } = agent;
    const put = await call('PUT', `/v1/hosts/h${i}`, { address, token, tls: { fingerprint } });
    expect(put.status).toBe(201);
  }
});

afterAll(async () => {
  await worker?.kill('SIGTERM');
  await api?.kill('SIGTERM');
  for (const agent of agents ?? []) await agent.stop();
  await receiver?.stop();
  await redis?.stop();
  await rm(dir, { recursive: true, force: true });
});

const ten = (): TenJobs => ({ call, receiver, dir, hosts: ['h0', 'h1'] });

const victims: Record<string, () => Promise<void>> = {
  agent: async () => {
    await agents[0]?.kill('SIGKILL');
    await agents[0]?.restart();
  },
  worker: async () => {
    await worker.kill('SIGKILL');
    worker = await startWorker();
  },
  API: async () => {
    await api.kill('SIGKILL');
    api = await startApi();
  },
  Redis: async () => {
    await redis.kill('SIGKILL');
    await redis.restart();
  },
};

it.each(Object.keys(victims))(
  '%s killed while ten jobs run: all end truly, once each, and are told of',
  async (victim) => {
    const submitted = await submitTen(ten(), victim);
    await victims[victim]?.();
    await expectPromisesKept(ten(), submitted);
  },
  120_000,
);

it('all of them killed at once while ten jobs run: the same', async () => {
  const submitted = await submitTen(ten(), 'all');
  await Promise.all([
    worker.kill('SIGKILL'),
    api.kill('SIGKILL'),
    redis.kill('SIGKILL'),
    ...agents.map((agent) => agent.kill('SIGKILL')),
  ]);
  await redis.restart();
  await Promise.all(agents.map((agent) => agent.restart()));
  [api, worker] = await Promise.all([startApi(), startWorker()]);
  await expectPromisesKept(ten(), submitted);
}, 120_000);

it('a request that is repeated with its idempotency key after the API died is the same job', async () => {
  const body = { target_server: 'h0', command: 'true' };
  const key = { 'idempotency-key': '"once-more"' };
  const first = await call('POST', '/v1/jobs', body, key);
  await victims.API?.();
  const again = await call('POST', '/v1/jobs', body, key);
  expect(again.body.id).toBe(first.body.id);
});
