/** A batch in place of another: it begins only once every job of that one is proven over. Moved by hand. */
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { nextAttempt } from '../../src/job/attempts.ts';
import { batchInWords } from '../../src/job/batch/waiting-words.ts';
import type { Batch } from '../../src/job/batch.ts';
import type { Change } from '../../src/job/move.ts';
import { outcome } from '../../src/job/outcome.ts';
import { type BatchByHand, createBatchByHand } from '../helpers/batch-by-hand.ts';
import { newBatch } from '../helpers/batches.ts';
import { startRedis, type TestRedis } from '../helpers/redis.ts';
import { openStores, type Stores } from '../helpers/stores.ts';

let redis: TestRedis;
let stores: Stores;
let batch: BatchByHand;

beforeAll(async () => {
  redis = await startRedis();
  stores = await openStores(redis.url);
  batch = createBatchByHand(stores);
});
beforeEach(() => stores.redis.flushall());
afterAll(async () => {
  await stores?.close();
  await redis?.stop();
});

type End = 'canceled' | 'timed_out' | 'lost' | 'failed';

const hosts = (count: number) => Array.from({ length: count }, (_, i) => `web${i}`);

/** Starts its job on this host, which then comes to this end. */
async function end(begun: Batch, host: string, to: End, change: Partial<Change>): Promise<void> {
  const job = await batch.start(begun, host);
  expect(await stores.jobs.transition(job, 'running', to, { why: 'a test', ...change })).toBeTruthy();
}

/** Another batch in place of this one, as often looked at as there is something to do. */
async function replace(before: Batch): Promise<() => Promise<Batch | null>> {
  const after = newBatch({ total: 1, replaces: before.id });
  const target = { host: 'next', target_server: 'next' };
  await batch.batches.accept(after, [target], undefined, { seen: null, replaces: before.id });
  return async () => {
    await batch.proceed(before.id);
    await batch.proceed(after.id);
    return batch.batches.get(after.id);
  };
}

const stopped = (rest: object) => ({ outcome: outcome('canceled', rest) });

describe('a batch that replaces another', () => {
  it.each<[string, End, Partial<Change>]>([
    ['was canceled by an agent that cannot look', 'canceled', stopped({ proof: 'none' })],
    ['has processes left that withstood the cancel', 'canceled', stopped({ leftover_processes: 2 })],
    ['timed out where nobody looks', 'timed_out', { outcome: outcome('timeout', { proof: 'none' }) }],
    ['is lost with its host', 'lost', { outcome: outcome('silent') }],
  ])('waits for a job of it that %s', async (_what, to, change) => {
    const before = await batch.begin(['web1']);
    await end(before, 'web1', to, change);
    expect(await (await replace(before))()).toMatchObject({ state: 'running', made: 0 });
  });

  it('waits for an attempt that may have begun, however the last one ended', async () => {
    const { job } = newBatch({ total: 1 }, { on_ambiguous_start: 'retry' });
    const before = await batch.begin(['web1'], { job });
    const lost = { state: 'lost' as const, change: { outcome: outcome('ambiguous_start') } };
    const again = { eligible_at: 0, why: 'a test' };
    const { attempts = [] } = nextAttempt(await batch.jobOf(before, 'web1'), lost, again);
    await end(before, 'web1', 'failed', { outcome: outcome('exit', { return_code: 1 }), attempts });
    expect(await (await replace(before))()).toMatchObject({ state: 'running', made: 0 });
  });

  it('begins where each of them is proven over, or was never started', async () => {
    const before = await batch.begin(hosts(3), { max_parallel: 2 });
    await end(before, 'web0', 'canceled', stopped({ proof: 'cgroup' }));
    const look = await replace(before);
    // It is canceled first: what was never started is withdrawn.
    expect(await look()).toMatchObject({ made: 0 });
    expect(await look()).toMatchObject({ made: 1 });
  });

  it('waits for the last one of a large batch, and no longer than its record is kept; explain says so', async () => {
    const names = hosts(201);
    const before = await batch.begin(names, { max_parallel: 201 });
    for (const name of names.slice(0, -1)) await end(before, name, 'canceled', stopped({ proof: 'cgroup' }));
    await end(before, 'web200', 'canceled', stopped({ proof: 'none' }));
    const look = await replace(before);
    const after = await look();
    expect(after).toMatchObject({ state: 'running', made: 0 });
    const standing = await batch.batches.standing(after?.id ?? '');
    expect(standing && batchInWords('replaced_batch', standing)).toContain('removed, 7 days after their end');
    await stores.jobs.remove(await batch.jobOf(before, 'web200'));
    expect(await look()).toMatchObject({ made: 1 });
  });
});
