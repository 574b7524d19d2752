/** What only the sweep brings back. */
import { afterAll, beforeAll, expect, it } from 'vitest';
import type { Workers } from '../../src/workers/main.ts';
import { startBaseAgent } from '../helpers/base-agent.ts';
import { startRedis, type TestRedis } from '../helpers/redis.ts';
import { newJob, openStores, type Stores } from '../helpers/stores.ts';
import { until } from '../helpers/until.ts';
import { endOf, startTestWorkers } from '../helpers/workers.ts';

let redis: TestRedis;
let stores: Stores;
let workers: Workers;

beforeAll(async () => {
  redis = await startRedis();
  stores = await openStores(redis.url);
});

afterAll(async () => {
  await workers?.close();
  await stores?.close();
  await redis?.stop();
});

it('starts that nobody has in hand are brought back, however many there are', async () => {
  const many = 600;
  const starts = Array.from({ length: many }, async () => {
    const job = await stores.submit(newJob({ host: 'nobody', command: 'true' }));
    await stores.jobs.transition(job, 'queued', 'dispatching', { attempt: 1, why: 'starting' });
  });
  await Promise.all(starts);
  expect(await stores.redis.zcard(stores.keys.mailbox('nobody'))).toBe(0);
  workers = await startTestWorkers(redis.url, stores);
  await until(async () => (await stores.redis.zcard(stores.keys.mailbox('nobody'))) === many, {
    timeoutMs: 20_000,
  });
});

/** Puts jobs where versions before places kept them: bare ids, in a mailbox of another name. */
async function moveToOldMailbox(host: string, ids: string[]): Promise<void> {
  const old = `${stores.keys.prefix}:host:${host}:mailbox`;
  await stores.redis.del(stores.keys.mailbox(host));
  for (const id of ids) await stores.redis.zadd(old, Date.now(), id);
}

it('jobs that an earlier version left in its own mailbox are started, none before its time', async () => {
  await workers?.close();
  const agent = await startBaseAgent({ generation: 'C' });
  const { address, token, fingerprint } = agent;
  await stores.hosts.put('upgraded', { address, token, tls: { fingerprint }, launcher: false });
  const job = await stores.submit(newJob({ host: 'upgraded', command: 'true' }));
  const not_before = Date.now() + 3_600_000;
  const later = await stores.submit(newJob({ host: 'upgraded', command: 'true', not_before }));
  await moveToOldMailbox('upgraded', [job.id, later.id]);
  await stores.redis.zadd(
    `${stores.keys.prefix}:host:upgraded:slots`,
    Date.now() - 10,
    `start:${job.id}:abcd1234`,
  );

  workers = await startTestWorkers(redis.url, stores);
  expect((await endOf(stores, job.id)).state).toBe('succeeded');
  const places = await stores.redis.zrange(stores.keys.mailbox('upgraded'), '0', '-1', 'WITHSCORES');
  expect(places).toEqual([expect.stringContaining(later.id), String(not_before)]);
  await agent.close();
});

it('a record that cannot be read keeps nobody else from being swept', async () => {
  await workers?.close();
  await stores.redis.zadd(stores.keys.deadlines, 1, 'job_broken');
  await stores.redis.set(stores.keys.jobRequest('job_broken'), '{');
  await stores.redis.hset(stores.keys.job('job_broken'), { state: 'queued', version: '1' });
  const job = await stores.submit(newJob({ host: 'never', command: 'true', start_deadline_seconds: 1 }));

  workers = await startTestWorkers(redis.url, stores);
  await endOf(stores, job.id);
});
