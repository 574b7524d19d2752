/**
 * The store against a small model, with whatever its users may do in any order, and with what workers know as old as it
 * may be: claims that ran out, records that others have moved since. After every step both say the same, and the store
 * does not contradict itself; at the end nothing is left.
 *
 * SLUICE_TEST_MODEL_SECONDS is for how long it looks (12). A failure names its seed, its path and, in the sequence that
 * it is shrunk to, a replayPath: SLUICE_TEST_MODEL_SEED alone makes the same choices again, with SLUICE_TEST_MODEL_PATH and
 * SLUICE_TEST_MODEL_REPLAY they begin with the shrunk sequence.
 */
import fc from 'fast-check';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { parseRedisUrl } from '../../src/config/redis-url.ts';
import { outcome } from '../../src/job/outcome.ts';
import { createDeliveryStore } from '../../src/store/deliveries.ts';
import { createCancel } from '../../src/store/jobs/cancel.ts';
import { createJobStore } from '../../src/store/jobs.ts';
import { createKeys } from '../../src/store/keys.ts';
import { idAt } from '../../src/store/mailbox/places.ts';
import { createMailbox } from '../../src/store/mailbox.ts';
import { connectForBlocking, type Redis } from '../../src/store/redis.ts';
import { startRedis, type TestRedis } from '../helpers/redis.ts';
import { type Real, seen } from '../helpers/store-model.command.ts';
import { COMMANDS } from '../helpers/store-model.commands.ts';
import { ACTIVE, emptyModel, HOSTS, LIMITS, type Model, nobodys, PLACED } from '../helpers/store-model.ts';
import { contradictionsIn, findLeftovers, readContents } from '../helpers/store-truth.ts';

const SECONDS = Number(process.env.SLUICE_TEST_MODEL_SECONDS ?? 12);
const SEED = Number(process.env.SLUICE_TEST_MODEL_SEED ?? Date.now() % 2 ** 31);
const PATH = process.env.SLUICE_TEST_MODEL_PATH;
const REPLAY = process.env.SLUICE_TEST_MODEL_REPLAY;

let server: TestRedis;
let redis: Redis;

beforeAll(async () => {
  server = await startRedis({ appendonly: false });
  redis = connectForBlocking(parseRedisUrl(server.url), 'model');
  await redis.connect();
});
afterAll(async () => {
  redis?.disconnect();
  await server?.stop();
});

it(
  'whatever its users do in whatever order, the store is as its model says, and nothing is left',
  async () => {
    let runs = 0;
    let steps = 0;
    const commands = fc.commands(COMMANDS, {
      ...{ maxCommands: 80, size: 'max' },
      ...(REPLAY !== undefined && { replayPath: REPLAY }),
    });
    const property = fc.asyncProperty(commands, async (sequence) => {
      const real = await openStore();
      const model = emptyModel();
      await fc.asyncModelRun(() => ({ model, real }), sequence);
      await bringToAnEnd(real, model);
      runs++;
      steps += [...sequence].length;
    });
    await fc.assert(property, {
      seed: SEED,
      ...(PATH !== undefined && { path: PATH }),
      numRuns: 1_000_000,
      interruptAfterTimeLimit: SECONDS * 1_000,
    });
    console.log(`seed ${SEED}: ${runs} runs, ${steps} steps; ${JSON.stringify(seen)}`);
    expect(
      Object.values(seen).every((times) => times > 0),
      JSON.stringify(seen),
    ).toBe(true);
  },
  SECONDS * 1_000 + 60_000,
);

async function openStore(): Promise<Real> {
  await redis.flushall();
  const keys = createKeys('{model}');
  const stored = { redis, keys };
  const jobs = createJobStore({
    ...stored,
    onTold: () => undefined,
    onFreed: () => undefined,
    onBatchDue: () => undefined,
  });
  // One that is not known to be up gets one request at a time.
  for (const host of HOSTS) await redis.hset(keys.hostHealth(host), 'status', 'up');
  return {
    ...stored,
    jobs,
    mailbox: createMailbox(stored),
    cancel: createCancel({ jobs, wake: { follow: async () => undefined } }),
    views: [null, null, null],
    async compare(model) {
      const contents = await readContents(stored);
      const known = nobodys(model).map(({ id, state }) => `${id} (${state}) is in nobody's hands`);
      expect(contradictionsIn(contents, keys).sort(), 'contradictions').toEqual(known.sort());
      expect(storeIn(contents, keys)).toEqual(storeOf(model));
    },
  };
}

type Contents = Awaited<ReturnType<typeof readContents>>;

/** Both in the same words. */
function storeIn(contents: Contents, keys: Real['keys']) {
  const ids = [...contents.members(keys.jobsAll).keys()];
  return {
    jobs: ids.map((id) => {
      const { state, version, attempt = '0' } = contents.hash(keys.job(id));
      return `${id} ${state} ${version} ${attempt}`;
    }),
    waiting: HOSTS.map((host) => {
      const all = [
        ...contents.members(keys.mailbox(host)).keys(),
        ...contents.members(keys.ready(host)).keys(),
      ];
      return all.map(idAt).sort();
    }),
    held: HOSTS.map((host) => [...contents.members(keys.slots(host)).keys()].sort()),
    outbox: contents.list(keys.outbox).map((text) => {
      const { id, version } = JSON.parse(text) as { id: string; version: number };
      return `${id} ${version}`;
    }),
  };
}

function storeOf(model: Model): ReturnType<typeof storeIn> {
  return {
    jobs: [...model.jobs.values()].map(
      ({ id, state, version, attempt }) => `${id} ${state} ${version} ${attempt}`,
    ),
    waiting: HOSTS.map((host) => [...model.waiting[host].keys()].sort()),
    held: HOSTS.map((host) =>
      model.held
        .filter((one) => one.host === host)
        .map(({ claim }) => `start:${claim.token}:${claim.place}`)
        .sort(),
    ),
    outbox: model.outbox,
  };
}

/** Every worker that holds anything dies; others take over until all jobs are over and told of. */
async function bringToAnEnd(real: Real, model: Model): Promise<void> {
  const { keys, jobs, mailbox } = real;
  for (const { id } of nobodys(model)) {
    const job = await jobs.get(id);
    expect(job && (await mailbox.rescue(job)), `${id} is rescued`).toBe(true);
  }
  for (const host of HOSTS) {
    // What waits for later waits no more.
    for (const key of [keys.slots(host), keys.mailbox(host)]) {
      for (const member of await redis.zrange(key, 0, '-1')) await redis.zadd(key, 'XX', 1, member);
    }
  }
  for (const { id } of model.jobs.values()) {
    const job = await jobs.get(id);
    if (job && ACTIVE.includes(job.state)) await end(id);
  }
  for (const host of HOSTS) {
    for (;;) {
      const { claims } = await mailbox.take(host, LIMITS[host], { leaseMs: 60_000, most: 4, revision: 0 });
      if (claims.length === 0) break;
      for (const claim of claims) {
        await end(claim.id);
        await mailbox.release(host, claim);
      }
    }
  }
  for (const { id } of model.jobs.values()) {
    const job = await jobs.get(id);
    expect(PLACED.includes(job?.state ?? 'queued'), `${id} was never started`).toBe(false);
  }
  const deliveries = createDeliveryStore(real);
  for (const outgoing of await deliveries.outbox(1_000)) await deliveries.expand(outgoing, []);
  for (const { id, host } of model.jobs.values()) {
    // Lost jobs are asked about for as long as their record is kept.
    await redis.zrem(keys.followed(host), id);
    await redis.zrem(keys.hostsFollowed, host);
  }
  expect(await findLeftovers(real), 'leftovers').toEqual([]);

  async function end(id: string): Promise<void> {
    const job = await jobs.get(id);
    if (!job || !['queued', ...ACTIVE].includes(job.state)) return;
    const change = { why: 'at the end', outcome: outcome('exit') };
    const ended = await jobs.transition(job, ['queued', ...ACTIVE] as never, 'failed' as never, change);
    expect(ended).toMatchObject({ state: 'failed' });
  }
}
