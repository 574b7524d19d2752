/**
 * How each crash point is brought about: a process that dies just there, what leads to it, and who takes its place.
 *
 *     const world = await openWorld();
 *     await dieAt(world, 'dispatch.sent')      // the promises that it broke: []
 */
import { randomBytes } from 'node:crypto';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Redis } from 'ioredis';
import { expect } from 'vitest';
import type { CrashPoint } from '../../src/job/crash-points.ts';
import { placeOf } from '../../src/store/mailbox/places.ts';
import { mutatedBy } from '../mutations/environment.ts';
import type { MutationName } from '../mutations/mutations.ts';
import { isAlive } from './alive.ts';
import { type MortalGateway, startMortalGateway, type World } from './mortal-gateway.ts';
import { type RealAgent, startRealAgent } from './real-agent.ts';
import { startReceiver } from './receiver.ts';
import { startRedis } from './redis.ts';
import { until } from './until.ts';

/** What all gateways share: a Redis, and who hears of their jobs. */
export async function openWorld(): Promise<World & { close(): Promise<void> }> {
  const dir = await mkdtemp(join(tmpdir(), 'sluice-deaths-'));
  const secretKeyFile = join(dir, 'secret.key');
  await writeFile(secretKeyFile, `${randomBytes(32).toString('base64')}\n`, { mode: 0o600 });
  const callbackSecret = `whsec_${randomBytes(32).toString('base64')}`;
  const redis = await startRedis();
  const client = new Redis(redis.url);
  const toldEarly: string[] = [];
  const receiver = await startReceiver({
    secrets: [callbackSecret],
    // The gateway's name is the last part of the path.
    onReceived({ path, body: { data } }) {
      const name = path.split('/').at(-1);
      const record = `{${name}}:${String(data.id).startsWith('batch_') ? 'batch' : 'job'}:${data.id}`;
      void client.hget(record, 'version').then((version) => {
        if (Number(version) < Number(data.version)) toldEarly.push(`${name}: ${data.id} is ${data.state}`);
      });
    },
  });
  const apiKey = `test-${randomBytes(16).toString('hex')}`;
  return {
    ...{ dir, redisUrl: redis.url, secretKeyFile, apiKey, callbackSecret, receiver, toldEarly },
    async close() {
      client.disconnect();
      await receiver.stop();
      await redis.stop();
      await rm(dir, { recursive: true, force: true });
    },
  };
}

/** @returns the promises that the death broke; none, one hopes */
export async function dieAt(world: World, point: CrashPoint, mutation?: MutationName): Promise<string[]> {
  const dies = point.startsWith('agent.');
  const env = mutation ? mutatedBy(mutation) : {};
  const agent = await startRealAgent({
    ...(dies && { args: ['--dangerously-crash-at', point] }),
    wrapper: ['env', ...Object.entries(env).map(([name, value]) => `${name}=${value}`)],
  });
  const name = [point, mutation ?? []].flat().join(' ').replace(/\W+/g, '-');
  const gateway = await startMortalGateway(world, name, agent, env);
  let broken = ['it did not come to its end'];
  try {
    await DEATHS[point](gateway, point, agent);
    broken = await gateway.brokenPromises();
    return broken;
  } finally {
    if (broken.length > 0 && !mutation) {
      console.log(`${point}: logs and Redis' keys are in ${await gateway.keepEvidence()}`);
    }
    await gateway.stop();
    await agent.stop();
  }
}

/** Brings one death about, and has somebody take the place of who died. */
type Death = (gateway: MortalGateway, point: CrashPoint, agent: RealAgent) => Promise<void>;
/** What leads to the point. */
type Provocation = (gateway: MortalGateway) => Promise<void>;

const byJobs: Provocation = (gateway) => gateway.submitSome();
const byCancel: Provocation = async (gateway) => gateway.cancel(await gateway.submitEndless());

const byBatch: Provocation = async (gateway) => void (await gateway.submitBatch());
const byCancelOfBatch: Provocation = async (gateway) => {
  const batch = await gateway.submitBatch('sleep 300', { state: 'canceled', return_code: null });
  const isRunning = async () => ((await gateway.jobOf(batch)).counts as { running: number }).running === 1;
  await until(isRunning, { timeoutMs: 30_000, what: 'the job of the batch to run' });
  await gateway.cancel(batch);
};

const workerDies =
  (provoke: Provocation, before: Provocation = async () => undefined): Death =>
  async (gateway, point) => {
    await gateway.startApi();
    await gateway.registerHost();
    await before(gateway);
    await gateway.startWorker(point);
    await provoke(gateway);
    await gateway.died('worker');
    // What comes while nobody is there, too.
    await gateway.submitSome();
    await gateway.startWorker();
  };

const apiDies =
  (provoke: Provocation): Death =>
  async (gateway, point) => {
    await gateway.startApi();
    await gateway.registerHost();
    await gateway.stopApi();
    await gateway.startWorker();
    await gateway.startApi(point);
    // Its caller hears nothing, and asks again under the same key.
    await expect(provoke(gateway)).rejects.toThrow('fetch failed');
    await gateway.died('api');
    await gateway.startApi();
    await gateway.repeatUnanswered();
  };

const agentDies =
  (provoke: Provocation): Death =>
  async (gateway, _, agent) => {
    await gateway.startApi();
    await gateway.registerHost();
    await gateway.startWorker();
    await provoke(gateway);
    await until(() => !isAlive(agent.pid), { timeoutMs: 30_000, what: 'the death of the agent' });
    await agent.restart([]);
  };

/** An API that died before it woke anybody left an armed host. */
const lostWakeUp: Provocation = async (gateway) => {
  // The host's registration has woken somebody, too.
  await gateway.startWorker();
  expect(await gateway.leftovers()).toEqual([]);
  await gateway.stopWorker();
  await gateway.stopApi();
  await gateway.startApi('accept.stored');
  await expect(gateway.submitSome()).rejects.toThrow('fetch failed');
  await gateway.died('api');
  await gateway.startApi();
  await gateway.repeatUnanswered();
};

/** As a Redis that lost its last second leaves it. */
const lostPlace: Provocation = async (gateway) => {
  await gateway.submitSome();
  const { redis: client, keys, jobs } = gateway.stores;
  const { jobs: all } = await jobs.list({ state: ['queued'] }, { size: 10 });
  await client.zrem(keys.mailbox(gateway.name), ...all.map(placeOf));
};

/** A job whose record has been kept for long enough. */
const passedRetention: Provocation = async (gateway) => {
  await gateway.startWorker();
  const job = gateway.promise('true', { state: 'succeeded', return_code: 0 });
  await gateway.submit(job);
  expect(await gateway.brokenPromises()).toEqual([]);
  await gateway.stopWorker();
  gateway.forget(job);
  await gateway.stores.redis.zadd(gateway.stores.keys.expiring, 1, job.id ?? '');
};

/** A batch that was paused before its job could start holds it back. */
const heldBack: Provocation = async (gateway) => {
  await gateway.startWorker();
  const host = `/v1/hosts/${gateway.name}`;
  await gateway.call('POST', `${host}:drain`, {});
  const batch = await gateway.submitBatch();
  const { redis: client, keys } = gateway.stores;
  const id = batch.id ?? '';
  await until(async () => (await client.scard(keys.batchWaiting(id))) === 1, {
    what: 'the job of the batch',
  });
  await gateway.call('POST', `/v1/batches/${id}:pause`, {});
  await gateway.call('POST', `${host}:resume`, {});
  await until(async () => (await client.scard(keys.batchHeld(id))) === 1, {
    what: 'its job to be held back',
  });
  await gateway.stopWorker();
};
const byResume: Provocation = async (gateway) => {
  const { items } = (await gateway.call('GET', '/v1/batches')).body as { items: { id: string }[] };
  await gateway.call('POST', `/v1/batches/${items[0]?.id}:resume`, {});
};

export const DEATHS: Record<CrashPoint, Death> = {
  'accept.stored': apiDies(byJobs),
  'accept.woken': apiDies(byJobs),
  'cancel.asked': apiDies(byCancel),
  'batch.stored': apiDies(byBatch),
  'batch.ordered': apiDies(byCancelOfBatch),
  'batch.looked': workerDies(byBatch),
  'batch.made': workerDies(byBatch),
  'batch.let_go': workerDies(byResume, heldBack),
  'dispatch.taken': workerDies(byJobs),
  'dispatch.committed': workerDies(byJobs),
  'dispatch.sent': workerDies(byJobs),
  'dispatch.answered': workerDies(byJobs),
  'dispatch.settled': workerDies(byJobs),
  'follow.claimed': workerDies(byJobs),
  'follow.answered': workerDies(byJobs),
  'follow.unscheduled': workerDies(byJobs),
  'settle.committed': workerDies(byJobs),
  'cancel.due': workerDies(byCancel),
  'cancel.answered': workerDies(byCancel),
  'cancel.noted': workerDies(byCancel),
  'cancel.settled': workerDies(byCancel),
  'deliver.read': workerDies(byJobs),
  'deliver.expanded': workerDies(byJobs),
  'deliver.named': workerDies(byJobs),
  'deliver.claimed': workerDies(byJobs),
  'deliver.sent': workerDies(byJobs),
  'deliver.settled': workerDies(byJobs),
  'sweep.claimed': workerDies(byJobs),
  'sweep.late_found': workerDies(async () => undefined, lostWakeUp),
  'sweep.rescued': workerDies(async () => undefined, lostPlace),
  'sweep.removed': workerDies(async () => undefined, passedRetention),
  'agent.stored': agentDies(byJobs),
  'agent.spawned': agentDies(byJobs),
  'agent.ended': agentDies(byJobs),
  'agent.recorded': agentDies(byJobs),
  'agent.canceled': agentDies(byCancel),
};
