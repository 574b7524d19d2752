/** What the store keeps of batches besides their course: held jobs and their deadlines, wake-ups, unique keys, removal. */
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { outcome } from '../../src/job/outcome.ts';
import { startBy } from '../../src/job/start-deadline.ts';
import { batchJobId } from '../../src/store/batches/job-id.ts';
import { type BatchStore, createBatchStore } from '../../src/store/batches.ts';
import { createJobOfTarget } from '../../src/workers/batches/job-of-target.ts';
import { newBatch } from '../helpers/batches.ts';
import { startRedis, type TestRedis } from '../helpers/redis.ts';
import { openStores, type Stores } from '../helpers/stores.ts';

let redis: TestRedis;
let stores: Stores;
let batches: BatchStore;

beforeAll(async () => {
  redis = await startRedis();
  stores = await openStores(redis.url);
  batches = createBatchStore(stores);
});
afterAll(async () => {
  await stores?.close();
  await redis?.stop();
});

/** Accepted, with the first `made` of its jobs made. */
async function begin(hosts: string[], made: number, fields: Partial<ReturnType<typeof newBatch>> = {}) {
  const batch = newBatch({ ...fields, total: hosts.length }, { start_deadline_seconds: 60 });
  const targets = hosts.map((host) => ({ host, target_server: host }));
  await batches.accept(batch, targets, undefined, { seen: null, replaces: null });
  const ofTarget = createJobOfTarget(stores.sealer);
  for (const [i, target] of targets.slice(0, made).entries()) {
    expect(await batches.make(ofTarget(batch, target, i, await batches.now()))).not.toBeNull();
  }
  const job = async (host: string) => (await stores.jobs.get(batchJobId(batch.id, host)))!;
  return { id: batch.id, job };
}

const start = async (job: Awaited<ReturnType<Stores['jobs']['get']>>) =>
  stores.jobs.transition(job!, 'queued', 'dispatching', { attempt: 1, why: 'a test' });

describe('a job that its batch holds back', () => {
  it('cannot miss its deadline meanwhile, and has all of it again from when it is let go', async () => {
    const { id, job } = await begin(['held-1'], 1);
    await batches.order(id, { kind: 'pause' });
    expect(await start(await job('held-1'))).toBe(false);
    const held = await job('held-1');
    expect(await stores.redis.zscore(stores.keys.deadlines, held.id)).toBeNull();
    await batches.order(id, { kind: 'resume' });
    const before = await batches.now();
    expect(await batches.letGo(held)).toBe(true);
    const free = await job('held-1');
    expect(startBy(free)).toBeGreaterThanOrEqual(before + 60_000);
    expect(Number(await stores.redis.zscore(stores.keys.deadlines, held.id))).toBe(startBy(free));
    expect(await start(free)).toMatchObject({ state: 'dispatching' });
  });
});

describe('who goes on with a batch', () => {
  it('is looked for by the sweep though its jobs move all the time: a lost wake-up is not put off', async () => {
    const hosts = Array.from({ length: 40 }, (_, i) => `busy-${i}`);
    const { id, job } = await begin(hosts, 20, { max_parallel: 20 });
    const moved = async (host: string) => {
      const started = await start(await job(host));
      if (!started) throw new Error(`${host} may not start`);
      await stores.jobs.transition(started, 'dispatching', 'succeeded', {
        why: 'a test',
        outcome: outcome('exit'),
      });
    };
    await moved('busy-0');
    // Whoever was woken by that died before it looked.
    const due = Number(await stores.redis.zscore(stores.keys.batchesDue, id));
    for (const host of hosts.slice(1, 10)) await moved(host);
    expect(Number(await stores.redis.zscore(stores.keys.batchesDue, id))).toBe(due);
    expect(await batches.overdue(-1, 10)).toContain(id);
  });
});

describe('removal', () => {
  it('leaves no key of a batch behind', async () => {
    const fields = { unique_key: 'nightly', waves: [1, 1] };
    const { id, job } = await begin(['gone-1', 'gone-2'], 1, fields);
    const started = await start(await job('gone-1'));
    if (!started) throw new Error('it may start');
    const end = { why: 'a test', outcome: outcome('exit', { return_code: 1 }) };
    await stores.jobs.transition(started, 'dispatching', 'failed', end);
    await batches.order(id, { kind: 'cancel', by: 'test', reason: null });
    const over = (await batches.get(id))!;
    expect(over.state).toBe('canceled');
    await stores.redis.zadd(stores.keys.batchesExpiring, 1, id);
    expect(await batches.expired(10)).toEqual([id]);
    expect(await batches.remove(over)).toBe(true);
    const left = await stores.redis.keys('*');
    expect(left.filter((key) => key.includes(id) || key.includes('batches:unique'))).toEqual([]);
    for (const key of [stores.keys.batchesAll, stores.keys.batchesByOwner('test'), stores.keys.batchesOpen])
      expect(await stores.redis.zscore(key, id)).toBeNull();
  });

  it('leaves a request alone that claimed the same idempotency key for another batch', async () => {
    const idempotency = { key: 'nightly', fingerprint: 'f'.repeat(43) };
    const accept = async () => {
      const batch = newBatch({ total: 1 });
      const targets = [{ host: 'h', target_server: 'h' }];
      const accepted = await batches.accept(batch, targets, idempotency, { seen: null, replaces: null });
      if (accepted.kind !== 'accepted') throw new Error(`the batch was ${accepted.kind}`);
      return accepted.batch;
    };
    const first = await accept();
    const claim = stores.keys.idempotency('test', first.idempotency ?? '');
    await stores.redis.del(claim);
    const second = await accept();
    expect(await batches.remove(first)).toBe(true);
    expect(await batches.findAccepted('test', idempotency)).toMatchObject({ batch: { id: second.id } });
    expect(await batches.remove(second)).toBe(true);
    expect(await stores.redis.exists(claim)).toBe(0);
  });

  it('of a batch that changed since it was read is refused', async () => {
    const { id } = await begin(['late-1'], 1);
    await batches.order(id, { kind: 'pause' });
    const seen = (await batches.get(id))!;
    await batches.order(id, { kind: 'resume' });
    expect(await batches.remove(seen)).toBe(false);
    expect(await batches.get(id)).not.toBeNull();
  });
});
