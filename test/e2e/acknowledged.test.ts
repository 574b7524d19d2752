/**
 * SLUICE_ACK_REPLICAS=1 behind Sentinels: the primary is cut off from its replica with callers still on it, goes on
 * taking writes that nobody else gets, and is replaced. Without waiting for the replica most of what was acknowledged
 * meanwhile would be gone. Every acceptance that was ever told must be there afterwards, and end; and no command may
 * run twice, also of those jobs that the failover forgot and that were submitted again.
 */
import { randomBytes } from 'node:crypto';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { type RealAgent, startRealAgent } from '../helpers/real-agent.ts';
import { type SentinelRedis, startSentinelRedis } from '../helpers/redis-sentinel.ts';
import { createCaller, type SluiceProcess, startSluice } from '../helpers/sluice-process.ts';
import { until } from '../helpers/until.ts';

const API_KEY = `test-${randomBytes(16).toString('hex')}`;
const CALLERS = 4;

let dir: string;
let ran: string;
let redis: SentinelRedis;
let agent: RealAgent;
let api: SluiceProcess & { match: RegExpMatchArray };
let worker: SluiceProcess;

const call = createCaller(() => api.match[1] ?? '', API_KEY);

beforeAll(async () => {
  dir = await mkdtemp(join(tmpdir(), 'sluice-acknowledged-'));
  ran = join(dir, 'ran');
  await writeFile(ran, '');
  const secretKeyFile = join(dir, 'secret.key');
  await writeFile(secretKeyFile, `${randomBytes(32).toString('base64')}\n`, { mode: 0o600 });
  [redis, agent] = await Promise.all([
    startSentinelRedis({ sentinels: 3, downAfterMs: 1_000 }),
    startRealAgent(),
  ]);
  const env = {
    REDIS_URL: redis.url,
    SLUICE_SECRET_KEY_FILE: secretKeyFile,
    SLUICE_API_KEY: API_KEY,
    SLUICE_ACK_REPLICAS: '1',
  };
  [api, worker] = await Promise.all([
    startSluice(['api', '--listen', '127.0.0.1:0'], env, /"url":"(\S+?)","msg":"api.started"/),
    startSluice(['worker'], env, /"msg":"workers.started"/),
  ]);
}, 90_000);

afterAll(async () => {
  await worker?.kill('SIGTERM');
  await api?.kill('SIGTERM');
  await agent?.stop();
  await redis?.stop();
  await rm(dir, { recursive: true, force: true });
});

/** What became of the submissions: ids by key of those that were acknowledged, and how often which code was told. */
function startCallers() {
  const accepted = new Map<string, string>();
  const codes = new Map<string, number>();
  const changed = new Set<string>();
  const stop = new AbortController();
  let count = 0;

  async function submit(key: string): Promise<void> {
    const order = { target_server: 'h', command: `echo ${key} >> ${ran}`, poll_interval: 1 };
    for (;;) {
      const reply = await call('POST', '/v1/jobs', order, { 'idempotency-key': `"${key}"` });
      if (reply.status === 202 || reply.status === 200) {
        const id = String(reply.body.id);
        if ((accepted.get(key) ?? id) !== id) changed.add(key);
        accepted.set(key, id);
        return;
      }
      const code = String(reply.body.code);
      codes.set(code, (codes.get(code) ?? 0) + 1);
      if (reply.status !== 503)
        throw new Error(`${JSON.stringify(reply.body)}\n${api.output().slice(-6000)}`);
      await pause(100);
    }
  }
  async function keepSubmitting(): Promise<void> {
    while (!stop.signal.aborted) await submit(`k${count++}`);
  }
  const done = Promise.all(Array.from({ length: CALLERS }, keepSubmitting));
  return {
    accepted,
    codes,
    changed,
    submit,
    async end() {
      stop.abort();
      await done;
    },
  };
}

it('every acceptance that was told outlives a failover to a replica that had been cut off', async () => {
  const { address, token, fingerprint } = agent;
  expect((await call('PUT', '/v1/hosts/h', { address, token, tls: { fingerprint } })).status).toBe(201);
  const callers = startCallers();
  const more = (n: number) => {
    const enough = callers.accepted.size + n;
    return until(() => callers.accepted.size >= enough, { timeoutMs: 60_000, what: `${n} more acceptances` });
  };
  await more(20);
  const primary = await redis.primaryPort();

  await redis.cutReplica();
  await until(() => (callers.codes.get('not_acknowledged') ?? 0) >= CALLERS, { what: 'refusals' });
  const told = callers.accepted.size;
  const [key, id] = [...callers.accepted].at(-1) as [string, string];
  expect((await call('GET', `/v1/jobs/${id}`)).status).toBe(200);
  const refused = await fetch(`${api.match[1]}/v1/jobs`, {
    method: 'POST',
    headers: {
      authorization: `Bearer ${API_KEY}`,
      'content-type': 'application/json',
      'idempotency-key': `"${key}"`,
    },
    body: JSON.stringify({ target_server: 'h', command: `echo ${key} >> ${ran}`, poll_interval: 1 }),
  });
  expect(refused.status).toBe(503);
  expect(await refused.json()).toMatchObject({ code: 'not_acknowledged' });
  expect(Number(refused.headers.get('retry-after'))).toBeGreaterThan(0);
  await until(async () => {
    const { status, body } = await call('GET', '/readyz');
    return status === 503 && String(body.detail).includes('SLUICE_ACK_REPLICAS');
  });
  expect(callers.accepted.size).toBe(told);

  await redis.kill('SIGSTOP');
  await redis.promoted(primary);
  await redis.resume();
  await more(20);
  await callers.end();
  for (const [key, id] of callers.accepted) {
    const job = await call('GET', `/v1/jobs/${id}?wait=30`);
    expect(job.body, key).toMatchObject({ id, state: 'succeeded' });
    await callers.submit(key);
  }
  expect([...callers.changed]).toEqual([]);
  const lines = (await readFile(ran, 'utf8')).trim().split('\n');
  expect(lines.toSorted()).toEqual([...callers.accepted.keys()].toSorted());
  const logged = api.output().match(/"msg":"replicas.missing"/g) ?? [];
  expect(logged.length).toBeGreaterThan(0);
  expect(logged.length).toBeLessThan(10);
}, 180_000);
