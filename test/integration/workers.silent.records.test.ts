/** Full agents whose own records are gone, old or cut short: each loss has its name, and nothing is started again. */

import { execFile } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { mkdtemp, readdir, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { afterAll, afterEach, beforeAll, beforeEach, expect, it } from 'vitest';
import { type Job, launchToken } from '../../src/job/record.ts';
import { envPlace } from '../../src/store/sealing.ts';
import type { Workers } from '../../src/workers/main.ts';
import { createPatient, type Patient } from '../helpers/patient.ts';
import { type RealAgent, startRealAgent } from '../helpers/real-agent.ts';
import { startRedis, type TestRedis } from '../helpers/redis.ts';
import { openDoor } from '../helpers/starts.door.ts';
import { newJob, openStores, type Stores } from '../helpers/stores.ts';
import { until } from '../helpers/until.ts';
import { endOf, runToEnd, startTestWorkers, stateOf } from '../helpers/workers.ts';

let redis: TestRedis;
let stores: Stores;
let workers: Workers;
let scratch: string;
let agent: RealAgent;
let patient: Patient;
const host = 'web1';

beforeAll(async () => {
  redis = await startRedis();
  stores = await openStores(redis.url);
  workers = await startTestWorkers(redis.url, stores);
});
afterAll(async () => {
  await workers?.close();
  await stores?.close();
  await redis?.stop();
});
beforeEach(async () => {
  scratch = await mkdtemp(join(tmpdir(), 'records-'));
  patient = await createPatient(7);
  await setBoot('1');
  agent = await startRealAgent({ args: ['--boot-id-file', join(scratch, 'boot_id')] });
  const { address, token, fingerprint } = agent;
  await stores.hosts.put(host, { address, token, tls: { fingerprint } });
});
afterEach(async () => {
  patient.letGo();
  await agent.stop();
  await stores.hosts.remove(host);
  await patient.remove();
  await rm(scratch, { recursive: true, force: true });
});

const setBoot = (digit: string) =>
  writeFile(join(scratch, 'boot_id'), '11111111-1111-4111-8111-111111111111\n'.replaceAll('1', digit));

async function startPatient(): Promise<Job> {
  const { id } = await stores.submit(newJob({ host, command: patient.command, poll_interval: 1 }));
  await patient.begun();
  return stateOf(stores, id, 'running');
}

/** What identifies the agent towards the gateway stays; its memory of jobs goes. */
async function wipeRecords(): Promise<void> {
  for (const name of await readdir(agent.dataDir)) {
    if (name === 'token' || name === 'tls') continue;
    await rm(join(agent.dataDir, name), { recursive: true, force: true });
  }
}

/** The command last: whoever is left to see its end would record it. */
function killAll(job: Job): void {
  const pidIn = (name: string) =>
    Number(readFileSync(join(agent.jobDir(launchToken(job)), name), 'utf8').split(' ')[0]);
  for (const pid of [pidIn('supervisor'), pidIn('child'), patient.pid()]) {
    try {
      process.kill(pid, 'SIGKILL');
    } catch {
      // It went with the one before.
    }
  }
}

/** Lost under this name, with advice; the host is well, and goes on with other jobs. */
async function expectLost(job: Job, kind: string, message: RegExp): Promise<void> {
  const lost = await endOf(stores, job.id, 45_000);
  expect(lost).toMatchObject({ state: 'lost', attempt: 1, outcome: { kind, return_code: null } });
  expect(lost.outcome?.message).toMatch(message);
  expect(lost.outcome?.message).toMatch(/look on its host/);
  expect(await runToEnd(stores, { host, command: 'true' })).toMatchObject({ state: 'succeeded' });
  const states = (await stores.jobs.events(job.id)).map(({ state }) => state);
  expect(states.filter((state) => state === 'dispatching')).toHaveLength(1);
  expect(patient.starts()).toBe(1);
}

it('a job whose host was rebooted is lost, by reboot', async () => {
  const job = await startPatient();
  await agent.kill('SIGKILL');
  killAll(job);
  await setBoot('2');
  await agent.restart();
  await expectLost(job, 'reboot', /rebooted while it ran/);
});

it('a job whose agent was wiped is lost, forgotten, and is not started again', async () => {
  const job = await startPatient();
  await agent.kill('SIGKILL');
  await wipeRecords();
  await agent.restart();
  await expectLost(job, 'forgotten', /does not know the job/);
});

it('a job that a restored snapshot does not have is lost, forgotten, and recovered when its records are back', async () => {
  const [snapshot, later] = [join(scratch, 'snapshot'), join(scratch, 'later')];
  await agent.kill('SIGKILL');
  await copy(agent.dataDir, snapshot);
  await agent.restart();
  const job = await startPatient();
  await agent.kill('SIGKILL');
  await copy(agent.dataDir, later);
  await restore(snapshot);
  await expectLost(job, 'forgotten', /does not know the job/);
  await agent.kill('SIGKILL');
  await restore(later);
  patient.letGo();
  const recovered = await until(
    async () => {
      // Else a minute lies between two questions about it.
      await stores.followed.askAllNow(host);
      await stores.wake.follow(host);
      const now = await stores.jobs.get(job.id);
      return now?.state !== 'lost' && now;
    },
    { everyMs: 300 },
  );
  expect(recovered).toMatchObject({ state: 'failed', outcome: { kind: 'exit', return_code: 7 } });
  expect(recovered.recovered_at).not.toBeNull();
  expect(patient.starts()).toBe(1);
});

/** With its pipes, as a snapshot has them. */
async function copy(from: string, to: string): Promise<void> {
  await promisify(execFile)('cp', ['-aT', from, to]);
}

async function restore(from: string): Promise<void> {
  await wipeRecords();
  await copy(from, agent.dataDir);
  await agent.restart();
}

it('a job of which everything was killed is lost, by exit_unknown', async () => {
  const job = await startPatient();
  killAll(job);
  await expectLost(job, 'exit_unknown', /./);
});

it('a job whose secrets died with the agent before it began is started under the same token', async () => {
  const door = await openDoor(agent, patient.command);
  await stores.hosts.put('door', { address: door.address, token: agent.token, tls: door });
  door.onStart(async (start) => {
    await agent.restart(['--dangerously-crash-at', 'agent.stored']);
    await start.forward().catch(() => undefined);
    await agent.restart([]);
    await until(async () => {
      const { body } = await agent.call('POST', '/status', { job_ids: [launchToken({ id, attempt: 1 })] });
      return body.jobs[0].reason === 'never_ran';
    });
    start.drop();
  });
  const job = newJob({ host: 'door', command: patient.command, poll_interval: 1 });
  const { id } = job;
  const secrets = JSON.stringify({ secret_env: { PASSWORD: 'one' } });
  await stores.submit({ ...job, sealed_env: stores.sealer.seal(secrets, envPlace(id)) });
  await patient.begun();
  patient.letGo();
  expect(await endOf(stores, id)).toMatchObject({ attempt: 1, outcome: { kind: 'exit', return_code: 7 } });
  expect(patient.starts()).toBe(1);
  expect(door.failures).toEqual([]);
  await door.close();
  await stores.hosts.remove('door');
});
