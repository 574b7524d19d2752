/** Hosts that are silent for long: what is lost is sighted and corrected when they are back, and a gateway that was off loses nothing. */
import { afterAll, afterEach, beforeAll, beforeEach, expect, it } from 'vitest';
import type { Job } from '../../src/job/record.ts';
import { isAlive } from '../helpers/alive.ts';
import { type BaseAgent, startBaseAgent } from '../helpers/base-agent.ts';
import { createPatient, type Patient } from '../helpers/patient.ts';
import { startRedis, type TestRedis } from '../helpers/redis.ts';
import { newJob, openStores, type Stores } from '../helpers/stores.ts';
import { until } from '../helpers/until.ts';
import { endOf, startTestWorkers, stateOf } from '../helpers/workers.ts';

let redis: TestRedis;
let stores: Stores;
let agent: BaseAgent;
let patient: Patient;
const WEEKEND_MS = 60 * 3_600_000;

beforeAll(async () => {
  [redis, agent] = await Promise.all([startRedis(), startBaseAgent({ generation: 'C', rate: null })]);
  stores = await openStores(redis.url);
  const { address, token, fingerprint } = agent;
  await stores.hosts.put('web1', { address, token, tls: { fingerprint } });
});
afterAll(async () => {
  await agent?.close();
  await stores?.close();
  await redis?.stop();
});
beforeEach(async () => {
  patient = await createPatient(7);
});
afterEach(() => patient.remove());

async function startPatient(fields: Partial<Job>): Promise<Job> {
  const job = newJob({ host: 'web1', command: patient.command, poll_interval: 1, ...fields });
  const { id } = await stores.submit(job);
  await patient.begun();
  return stateOf(stores, id, 'running');
}

/** Cuts the pause until the host is tried again short, as often as needed. */
async function tryOften(isDone: () => Promise<boolean>): Promise<void> {
  await until(
    async () => {
      await stores.redis.hdel(stores.keys.hostHealth('web1'), 'retry_at');
      await stores.followed.askAllNow('web1');
      await stores.wake.follow('web1');
      return isDone();
    },
    { timeoutMs: 60_000, everyMs: 500, what: 'the host to be tried' },
  );
}

it('a lost job is sighted when its host is back, stays lost, and is recovered with its true end', async () => {
  const workers = await startTestWorkers(redis.url, stores);
  const { id } = await startPatient({ lost_after_seconds: 3 });
  await agent.stopListening();
  await tryOften(async () => (await stores.jobs.get(id))?.state === 'lost');
  const lost = await stores.jobs.get(id);
  expect(lost).toMatchObject({ outcome: { kind: 'silent' }, sighted_at: null });
  expect(lost?.outcome?.message).toMatch(/takes its true state by itself/);
  expect((await stores.hosts.health('web1')).silent_asks).toBeGreaterThanOrEqual(5);

  await agent.startListening();
  await tryOften(async () => (await stores.jobs.get(id))?.sighted_at !== null);
  expect(await stores.jobs.get(id)).toMatchObject({ state: 'lost' });
  patient.letGo();
  await tryOften(async () => (await stores.jobs.get(id))?.state !== 'lost');
  const recovered = await stores.jobs.get(id);
  expect(recovered).toMatchObject({ state: 'failed', attempt: 1, outcome: { kind: 'exit', return_code: 7 } });
  expect(recovered?.recovered_at).not.toBeNull();
  expect(patient.starts()).toBe(1);
  await workers.close();
});

it('a gateway that was off for a weekend, while a host was silent, loses nothing of it', async () => {
  const before = await startTestWorkers(redis.url, stores);
  const { id } = await startPatient({ lost_after_seconds: 600 });
  await agent.stopListening();
  await stateOf(stores, id, 'unreachable');
  await before.close();

  // The weekend passes: everything that was noted lies that far back.
  const health = stores.keys.hostHealth('web1');
  for (const field of ['last_failed_at', 'silent_since', 'last_contact_at']) {
    const at = await stores.redis.hget(health, field);
    if (at !== null) await stores.redis.hset(health, field, Number(at) - WEEKEND_MS);
  }
  const asks = (await stores.hosts.health('web1')).silent_asks;
  const after = await startTestWorkers(redis.url, stores);
  await tryOften(async () => (await stores.hosts.health('web1')).silent_asks >= asks + 5);
  expect(await stores.jobs.get(id)).toMatchObject({ state: 'unreachable' });
  expect((await stores.hosts.health('web1')).silent_ms).toBeLessThan(180_000);

  patient.letGo();
  await agent.startListening();
  await tryOften(async () => (await stores.hosts.health('web1')).status === 'up');
  expect(await endOf(stores, id, 45_000)).toMatchObject({ state: 'failed', outcome: { return_code: 7 } });
  expect(patient.starts()).toBe(1);
  await after.close();
});

it.each([true, false])(
  'a job that ended before its cancel arrived takes its true state (launcher: %s)',
  async (launcher) => {
    await stores.hosts.put('web1', { launcher });
    const workers = await startTestWorkers(redis.url, stores);
    const { id } = await startPatient({});
    await agent.stopListening();
    const asked = await stores.cancel(id, { signal: 'TERM', grace_seconds: 1, reason: null }, 'test');
    expect(asked?.kind).toBe('canceling');
    patient.letGo();
    await until(() => !isAlive(patient.pid()));
    await agent.startListening();
    await tryOften(async () => (await stores.jobs.get(id))?.state !== 'canceling');
    const job = await stores.jobs.get(id);
    expect(job).toMatchObject({ state: 'failed', outcome: { kind: 'exit', return_code: 7 } });
    expect(job?.cancel_requested_at).not.toBeNull();
    await workers.close();
  },
);
