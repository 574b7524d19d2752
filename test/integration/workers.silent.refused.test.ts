/** Hosts that answer and refuse while jobs run there: their trouble, with what to do about it, and never the jobs'. */
import { randomBytes } from 'node:crypto';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import type { Job } from '../../src/job/record.ts';
import type { Workers } from '../../src/workers/main.ts';
import { type BaseAgent, startBaseAgent } from '../helpers/base-agent.ts';
import { createPatient, type Patient } from '../helpers/patient.ts';
import { type RealAgent, startRealAgent } from '../helpers/real-agent.ts';
import { startRedis, type TestRedis } from '../helpers/redis.ts';
import { openDoor } from '../helpers/starts.door.ts';
import { newJob, openStores, type Stores } from '../helpers/stores.ts';
import { endOf, startTestWorkers, stateOf } from '../helpers/workers.ts';

let redis: TestRedis;
let stores: Stores;
let workers: Workers;
let full: RealAgent;
const base = new Map<'A' | 'C', BaseAgent>();
let patient: Patient;

beforeAll(async () => {
  [redis, full] = await Promise.all([startRedis(), startRealAgent()]);
  for (const generation of ['A', 'C'] as const) {
    base.set(generation, await startBaseAgent({ generation, rate: null }));
  }
  stores = await openStores(redis.url);
  workers = await startTestWorkers(redis.url, stores);
});
afterAll(async () => {
  await workers?.close();
  await full?.stop();
  for (const agent of base.values()) await agent.close();
  await stores?.close();
  await redis?.stop();
});
beforeEach(async () => {
  patient = await createPatient(7);
});
afterEach(() => patient.remove());

async function startOn(host: string): Promise<Job> {
  const { id } = await stores.submit(newJob({ host, command: patient.command, poll_interval: 1 }));
  await patient.begun();
  return stateOf(stores, id, 'running');
}

/** The host is blamed, in words that help; the job waits, and its record says for whom. */
async function expectHostBlamed(job: Job, { cause, remedy }: { cause: RegExp; remedy: RegExp }) {
  await stateOf(stores, job.id, 'unreachable', 45_000);
  const health = await stores.hosts.health(job.host);
  expect(health).toMatchObject({ status: 'misconfigured', silent_ms: 0 });
  expect(health.cause).toMatch(cause);
  expect(health.remedy).toMatch(remedy);
  const why = (await stores.jobs.events(job.id)).at(-1)?.why;
  expect(why).toMatch(/^the host is set up wrongly: /);
  expect(why).toMatch(cause);
}

async function expectTrueEnd(job: Job) {
  expect(await endOf(stores, job.id, 45_000)).toMatchObject({
    ...{ state: 'failed', attempt: 1, outcome: { kind: 'exit', return_code: 7 } },
  });
  expect(patient.starts()).toBe(1);
  expect(await stores.hosts.health(job.host)).toMatchObject({ status: 'up', cause: null, remedy: null });
}

describe.each(['full', 'C'] as const)('a host with an agent of the kind %s', (kind) => {
  it('that shows another certificate keeps its job unreachable, and the job takes its true state once that is mended', async () => {
    const door = await openDoor(kind === 'full' ? full : base.get(kind)!, patient.command);
    const host = `certificate-${kind}`;
    const { address, token, fingerprint } = door;
    await stores.hosts.put(host, { address, token, tls: { fingerprint } });
    const job = await startOn(host);
    await door.showAnotherCertificate();
    await expectHostBlamed(job, { cause: /certificate/, remedy: /sluice hosts trust/ });
    patient.letGo();
    door.showFirstCertificate();
    await expectTrueEnd(job);
    await door.close();
  });
});

describe('a host whose agent refuses the token from now on', () => {
  it.each(['A', 'C'] as const)(
    'is told so, and its job goes on when it is accepted again: %s',
    async (kind) => {
      const agent = base.get(kind)!;
      const { address, token, fingerprint } = agent;
      const host = `token-${kind}`;
      await stores.hosts.put(host, { address, token, tls: { fingerprint } });
      const job = await startOn(host);
      agent.refuseToken();
      await expectHostBlamed(job, { cause: /token|403/, remedy: /token-file/ });
      patient.letGo();
      agent.mend();
      await expectTrueEnd(job);
    },
  );

  it('is told so, and its job goes on when the host is given the new one: full', async () => {
    const { address, token, fingerprint } = full;
    await stores.hosts.put('token-full', { address, token, tls: { fingerprint } });
    const job = await startOn('token-full');
    const other = randomBytes(32).toString('hex');
    await writeFile(join(full.dataDir, 'token'), `${other}\n`);
    await full.restart();
    await expectHostBlamed(job, { cause: /token/, remedy: /token-file/ });
    patient.letGo();
    await stores.hosts.put('token-full', { token: other });
    await expectTrueEnd(job);
  });
});
