/** Cancels on hosts that cannot prove what they say of them. */
import { readFile, rename } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, it } from 'vitest';
import type { Workers } from '../../src/workers/main.ts';
import { isAlive } from '../helpers/alive.ts';
import { type RealAgent, startRealAgent } from '../helpers/real-agent.ts';
import { startRedis, type TestRedis } from '../helpers/redis.ts';
import { newJob, openStores, type Stores } from '../helpers/stores.ts';
import { until } from '../helpers/until.ts';
import { endOf, startTestWorkers, stateOf } from '../helpers/workers.ts';

const ORDER = { signal: 'TERM', grace_seconds: 1, reason: null };

let redis: TestRedis;
let agent: RealAgent;
let stores: Stores;
let workers: Workers;

beforeAll(async () => {
  [redis, agent] = await Promise.all([startRedis(), startRealAgent()]);
  stores = await openStores(redis.url);
  const { address, token, fingerprint } = agent;
  await stores.hosts.put('web1', { address, token, tls: { fingerprint } });
  workers = await startTestWorkers(redis.url, stores);
});

afterAll(async () => {
  await workers?.close();
  await stores?.close();
  await agent?.stop();
  await redis?.stop();
});

it('a job whose host got a new spool is lost when it is canceled, not canceled: its process runs on', async () => {
  const pidFile = join(agent.dataDir, 'pid');
  const fields = { host: 'web1', command: `echo $$ > ${pidFile}; exec sleep 300`, poll_interval: 60 };
  const { id } = await stores.submit(newJob(fields));
  await stateOf(stores, id, 'running');
  const pid = Number(await until(() => readFile(pidFile, 'utf8').catch(() => '')));
  try {
    await agent.kill('SIGKILL');
    for (const name of ['jobs', 'store.json']) {
      await rename(join(agent.dataDir, name), join(agent.dataDir, `${name}.before`));
    }
    await stores.cancel(id, ORDER, 'test');
    await agent.restart();
    expect(await endOf(stores, id, 30_000)).toMatchObject({ state: 'lost', outcome: { kind: 'forgotten' } });
    expect(isAlive(pid)).toBe(true);
    const said = await agent.call('POST', '/status', { job_ids: [`${id}-1`] });
    expect(said.body.jobs[0]).toMatchObject({ state: 'unknown' });
  } finally {
    process.kill(pid, 'SIGKILL');
  }
});

it('stubborn jobs that are canceled with a long grace keep nobody else from their host', async () => {
  const stubborn = [];
  for (let i = 0; i < 6; i++) {
    const job = newJob({
      host: 'web1',
      command: 'trap "" TERM; sleep 300 & wait; sleep 300',
      poll_interval: 60,
    });
    stubborn.push((await stores.submit(job)).id);
  }
  for (const id of stubborn) await stateOf(stores, id, 'running');
  for (const id of stubborn) await stores.cancel(id, { ...ORDER, grace_seconds: 12 }, 'test');
  const { id } = await stores.submit(newJob({ host: 'web1', command: 'echo in between' }));
  expect(await endOf(stores, id)).toMatchObject({ state: 'succeeded' });
  const states = (await stores.jobs.getMany(stubborn)).map((job) => job?.state);
  expect(states).toContain('canceling');
  for (const one of stubborn) {
    expect(await endOf(stores, one, 60_000)).toMatchObject({
      state: 'canceled',
      outcome: { kind: 'canceled' },
    });
  }
}, 120_000);
