/**
 * The course of a batch against a small model: its jobs go through their moves in any order, hosts go down and come back,
 * people pause, resume and cancel. After every step state, counts, wave and held jobs are as the model says, nothing is
 * made or started that the limits do not allow, and every change has a version of its own.
 *
 * SLUICE_TEST_MODEL_SECONDS is for how long it looks (12); SLUICE_TEST_MODEL_SEED makes the same choices again, and with
 * SLUICE_TEST_MODEL_PATH and SLUICE_TEST_MODEL_REPLAY they begin with the sequence that a failure was shrunk to.
 */
import fc from 'fast-check';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { parseRedisUrl } from '../../src/config/redis-url.ts';
import { outcome } from '../../src/job/outcome.ts';
import { isOver } from '../../src/job/states.ts';
import { batchJobId } from '../../src/store/batches/job-id.ts';
import { createBatchStore } from '../../src/store/batches.ts';
import { createJobStore } from '../../src/store/jobs.ts';
import { createKeys } from '../../src/store/keys.ts';
import { connectForBlocking, type Redis } from '../../src/store/redis.ts';
import { BATCH_COMMANDS, type RealBatch, seen, targetsOf } from '../helpers/batch-model.commands.ts';
import { type Asked, type BatchModel, newModel, OVER, settle } from '../helpers/batch-model.ts';
import { countsOf, newBatch } from '../helpers/batches.ts';
import { startRedis, type TestRedis } from '../helpers/redis.ts';

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

const limit = fc.option(fc.nat(3), { freq: 2 });
const asked: fc.Arbitrary<Asked> = fc.record({
  total: fc.integer({ min: 1, max: 10 }),
  max_parallel: fc.integer({ min: 1, max: 6 }),
  waves: fc.option(fc.array(fc.integer({ min: 1, max: 4 }), { minLength: 1, maxLength: 3 })),
  wave_pause_seconds: fc.constantFrom(0, 0, null),
  max_failures: limit,
  max_unreachable: limit,
  on_limit: fc.constantFrom('stop', 'pause', 'cancel'),
});

it(
  'whatever its jobs, its hosts and people do in whatever order, a batch is as its model says',
  async () => {
    let runs = 0;
    const commands = fc.commands(BATCH_COMMANDS, {
      ...{ maxCommands: 90, size: 'max' },
      ...(REPLAY !== undefined && { replayPath: REPLAY }),
    });
    const property = fc.asyncProperty(asked, commands, async (wanted, sequence) => {
      const real = await openBatch(wanted);
      const model = newModel(wanted);
      await fc.asyncModelRun(() => ({ model, real }), sequence);
      await bringToAnEnd(real, model);
      runs++;
    });
    const hasSeenAll = () => Object.values(seen).every((times) => times > 0);
    // On a busy machine one round is a few runs only.
    for (let round = 0; round === 0 || (round < 5 && !hasSeenAll()); round++) {
      await fc.assert(property, {
        seed: SEED + round,
        ...(PATH !== undefined && { path: PATH }),
        numRuns: 1_000_000,
        interruptAfterTimeLimit: SECONDS * 1_000,
      });
    }
    console.log(`seed ${SEED}: ${runs} runs; ${JSON.stringify(seen)}`);
    expect(hasSeenAll(), JSON.stringify(seen)).toBe(true);
  },
  5 * SECONDS * 1_000 + 60_000,
);

async function openBatch(wanted: Asked): Promise<RealBatch> {
  await redis.flushall();
  const stored = { redis, keys: createKeys('{model}') };
  const nothing = () => undefined;
  const jobs = createJobStore({ ...stored, onTold: nothing, onFreed: nothing, onBatchDue: nothing });
  const batches = createBatchStore(stored);
  const batch = newBatch(wanted);
  await batches.accept(batch, targetsOf(wanted.total), undefined, { seen: null, replaces: null });
  let last = { version: 0, said: '' };
  return {
    ...stored,
    jobs,
    batches,
    batch,
    async compare(model) {
      const found = (await batches.get(batch.id))!;
      expect({ ...pick(found), standings: await batches.standings(found) }).toEqual({
        state: model.state,
        counts: countsOf(model.targets.map(({ standing }) => standing)),
        ...{ made: model.made, wave: model.wave, stopped_because: model.stopped },
        awaits_wave: model.awaitsWave,
        standings: model.targets.map(({ standing }) => standing),
      });
      const said = JSON.stringify({ state: found.state, counts: found.counts });
      if (said !== last.said) expect(found.version, 'the version of a change').toBeGreaterThan(last.version);
      last = { version: found.version, said };
    },
  };
}

function pick({ state, counts, made, wave, stopped_because, awaits_wave }: RealBatch['batch']) {
  return { state, counts, made, wave, stopped_because, awaits_wave };
}

/** It is canceled, its jobs end, and it is removed with them: nothing of it is left. */
async function bringToAnEnd(real: RealBatch, model: BatchModel): Promise<void> {
  const { batch, batches, jobs, keys } = real;
  await batches.order(batch.id, { kind: 'cancel', by: 'test', reason: null });
  for (const { host } of targetsOf(model.made)) {
    const job = await jobs.get(batchJobId(batch.id, host));
    if (!job || isOver(job.state)) continue;
    await jobs.transition(job, job.state, 'canceled', { why: 'at the end', outcome: outcome('canceled') });
  }
  settle(model);
  const end = (await batches.get(batch.id))!;
  expect(OVER).toContain(end.state);
  expect(await redis.zcard(keys.batchesOpen), 'open batches').toBe(0);
  expect(await redis.zcard(keys.batchesDue), 'batches that are due').toBe(0);
  expect(await batches.remove(end), 'is removed').toBe(true);
  expect(
    (await redis.keys('*')).filter((key) => key.includes('batch')),
    'what is left',
  ).toEqual([]);
}
