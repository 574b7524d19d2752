/** A host gets another agent while its jobs run: each is followed to its end in the way it was started. */
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import type { Job } from '../../src/job/record.ts';
import type { Workers } from '../../src/workers/main.ts';
import { isAlive } from '../helpers/alive.ts';
import { type BaseAgent, startBaseAgent } from '../helpers/base-agent.ts';
import { createPatient, type Patient } from '../helpers/patient.ts';
import { type RealAgent, startRealAgent } from '../helpers/real-agent.ts';
import { startRedis, type TestRedis } from '../helpers/redis.ts';
import { type Door, openDoor } from '../helpers/starts.door.ts';
import { newJob, openStores, type Stores } from '../helpers/stores.ts';
import { endOf, runToEnd, startTestWorkers, stateOf } from '../helpers/workers.ts';

let redis: TestRedis;
let stores: Stores;
let workers: Workers;
let full: RealAgent;
const base = new Map<string, BaseAgent>();
let patient: Patient;
let door: Door;

beforeAll(async () => {
  [redis, full] = await Promise.all([startRedis(), startRealAgent()]);
  for (const generation of ['A', 'B', 'C'] as const) {
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
afterEach(async () => {
  await door.close();
  await patient.remove();
});

/** A host on which the patient runs, started by this agent. */
async function startOn(host: string, agent: BaseAgent | RealAgent): Promise<Job> {
  door = await openDoor(agent, patient.command);
  await stores.hosts.put(host, { address: door.address, token: door.token, tls: door });
  const { id } = await stores.submit(newJob({ host, command: patient.command, poll_interval: 1 }));
  await patient.begun();
  return stateOf(stores, id, 'running');
}

const expectTrueEnd = async (job: Job, started_by: Job['started_by']) => {
  expect(await endOf(stores, job.id, 45_000)).toMatchObject({
    ...{ state: 'failed', attempt: 1, started_by, outcome: { kind: 'exit', return_code: 7 } },
  });
  expect(patient.starts()).toBe(1);
};

describe.each(['A', 'B', 'C'])(
  'a host whose Base agent of generation %s is replaced by a Full one',
  (kind) => {
    it('keeps its running job, which ends truly, and starts the next one as Full', async () => {
      const host = `upgraded-${kind}`;
      const job = await startOn(host, base.get(kind)!);
      door.moveIn(full);
      patient.letGo();
      await expectTrueEnd(job, 'base+launcher');
      // What the agent can do is believed for a minute.
      await stores.redis.hdel(stores.keys.hostHealth(host), 'agent');
      const next = await runToEnd(stores, { host, command: 'exit 3' });
      expect(next).toMatchObject({ started_by: 'full', outcome: { return_code: 3 } });
    });

    it('can cancel its running job, with proof', async () => {
      const job = await startOn(`canceled-${kind}`, base.get(kind)!);
      door.moveIn(full);
      await stores.cancel(job.id, { signal: 'TERM', grace_seconds: 1, reason: null }, 'test');
      expect(await endOf(stores, job.id)).toMatchObject({
        ...{ state: 'canceled', started_by: 'base+launcher', outcome: { proof: 'group+marker' } },
      });
      expect(isAlive(patient.pid())).toBe(false);
    });
  },
);

it('a host that is rolled back from Full to Base has its running job unreachable, and ending truly once Full is back', async () => {
  const job = await startOn('rolled-back', full);
  door.moveIn(base.get('A')!);
  await stateOf(stores, job.id, 'unreachable', 45_000);
  const why = (await stores.jobs.events(job.id)).at(-1)?.why;
  expect(why).toMatch(/does not answer about it/);
  expect(await stores.hosts.health('rolled-back')).toMatchObject({ status: 'up' });
  expect(patient.starts()).toBe(1);
  patient.letGo();
  door.moveIn(full);
  await expectTrueEnd(job, 'full');
});
