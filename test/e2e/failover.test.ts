/**
 * A gateway through Sentinels while the primary goes away: killed, and hung. Replication is asynchronous, so what the
 * primary acknowledged in its last moment may be gone with it: before each fault the replica has what was accepted, and
 * what is asserted is what then holds: the jobs accepted before end truly and were started once, and the gateway
 * goes on by itself.
 */
import { randomBytes } from 'node:crypto';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { type RealAgent, startRealAgent } from '../helpers/real-agent.ts';
import { type Receiver, startReceiver } from '../helpers/receiver.ts';
import { type SentinelRedis, startSentinelRedis } from '../helpers/redis-sentinel.ts';
import { createCaller, type SluiceProcess, startSluice } from '../helpers/sluice-process.ts';
import { expectPromisesKept, submitTen, type TenJobs } from '../helpers/ten-jobs.ts';
import { until } from '../helpers/until.ts';

const API_KEY = `test-${randomBytes(16).toString('hex')}`;
const CALLBACK_SECRET = `whsec_${randomBytes(32).toString('base64')}`;

let dir: string;
let redis: SentinelRedis;
let receiver: Receiver;
let agent: RealAgent;
let api: SluiceProcess & { match: RegExpMatchArray };
let worker: SluiceProcess;

const call = createCaller(() => api.match[1] ?? '', API_KEY);
const ten = (): TenJobs => ({ call, receiver, dir, hosts: ['h'] });

beforeAll(async () => {
  dir = await mkdtemp(join(tmpdir(), 'sluice-failover-'));
  const secretKeyFile = join(dir, 'secret.key');
  await writeFile(secretKeyFile, `${randomBytes(32).toString('base64')}\n`, { mode: 0o600 });
  [redis, receiver, agent] = await Promise.all([
    startSentinelRedis({ sentinels: 3, downAfterMs: 1_000 }),
    startReceiver({ secrets: [CALLBACK_SECRET] }),
    startRealAgent(),
  ]);
  const env = {
    REDIS_URL: redis.url,
    SLUICE_SECRET_KEY_FILE: secretKeyFile,
    SLUICE_API_KEY: API_KEY,
    SLUICE_CALLBACK_SECRET: CALLBACK_SECRET,
    SLUICE_WEBHOOKS_ALLOW: '127.0.0.0/8',
    SLUICE_WEBHOOKS_SCHEDULE_SECONDS: '1,1,1,1,1,1',
  };
  [api, worker] = await Promise.all([
    startSluice(['api', '--listen', '127.0.0.1:0'], env, /"url":"(\S+?)","msg":"api.started"/),
    startSluice(['worker'], env, /"msg":"workers.started"/),
  ]);
  const { address, token, fingerprint } = agent;
  const put = await call('PUT', '/v1/hosts/h', { address, token, tls: { fingerprint } });
  expect(put.status).toBe(201);
}, 90_000);

afterAll(async () => {
  await worker?.kill('SIGTERM');
  await api?.kill('SIGTERM');
  await agent?.stop();
  await receiver?.stop();
  await redis?.stop();
  await rm(dir, { recursive: true, force: true });
});

/** Accepted by the new primary: a 503 is no acknowledgement, so the caller repeats it. */
async function submitOneMore(key: string): Promise<string> {
  const body = { target_server: 'h', command: 'echo goes on' };
  const accepted = await until(
    async () => {
      const reply = await call('POST', '/v1/jobs', body, { 'idempotency-key': `"${key}"` });
      return reply.status === 202 && reply;
    },
    { timeoutMs: 30_000, everyMs: 100, what: 'a job to be accepted' },
  );
  return accepted.body.id as string;
}

async function endsWell(id: string): Promise<void> {
  const job = await call('GET', `/v1/jobs/${id}?wait=30`);
  expect(job.body).toMatchObject({ id, state: 'succeeded', return_code: 0 });
}

it('the primary is killed while ten jobs run: all end truly, once each, and new ones are taken', async () => {
  const submitted = await submitTen(ten(), 'killed');
  const primary = await redis.primaryPort();
  await redis.replicated();
  await redis.kill('SIGKILL');
  await redis.promoted(primary);
  const more = await submitOneMore('after-the-kill');
  await expectPromisesKept(ten(), submitted);
  await endsWell(more);
  expect((await call('GET', '/readyz')).status).toBe(200);
}, 120_000);

it('the primary hangs while ten jobs run: everybody leaves it for its successor', async () => {
  await redis.restart();
  const submitted = await submitTen(ten(), 'hung');
  const primary = await redis.primaryPort();
  await redis.replicated();
  await redis.kill('SIGSTOP');
  await redis.promoted(primary);
  const more = await submitOneMore('while-it-hangs');
  await endsWell(more);
  await expectPromisesKept(ten(), submitted);
  await redis.resume();
  expect((await redis.clientsAt(primary)).filter((name) => name.startsWith('sluice:'))).toEqual([]);
}, 120_000);
