/** Batches from their acceptance to their end by real workers, on simulated agents that count what they start. */
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import type { Batch } from '../../src/job/batch.ts';
import type { Order } from '../../src/store/batches.ts';
import { type BatchFleet, mostAtOnce, startBatchFleet } from '../helpers/batch-fleet.ts';
import { batchThat, overIn, submitBatch } from '../helpers/batches.ts';
import { until } from '../helpers/until.ts';

const HOSTS = 12;

let rig: BatchFleet;

beforeAll(async () => {
  rig = await startBatchFleet({ hosts: HOSTS, silentMs: 300 });
});
afterEach(async () => {
  await rig.fleet.revive([...rig.names.keys()]);
  await rig.forgetHealth();
  await rig.fleet.reset();
});
afterAll(async () => rig?.stop());

/** Submitted for the first `count` hosts, with what is done to it. */
async function begin(count: number, fields: Partial<Batch>, job: Partial<Batch['job']>) {
  const hosts = rig.names.slice(0, count);
  const { id, batches, jobOf } = await submitBatch(rig.stores, hosts, fields, { poll_interval: 1, ...job });
  return {
    hosts,
    jobOf,
    that: (condition: (batch: Batch) => boolean, what?: string) =>
      batchThat(batches, id, condition, { timeoutMs: 45_000, ...(what && { what }) }),
    over: () => overIn(batches, id, 60_000),
    async order(asked: Order): Promise<void> {
      expect(await batches.order(id, asked)).toBe('done');
      await rig.stores.wake.batch(id);
    },
    held: () => rig.stores.redis.scard(rig.stores.keys.batchHeld(id)),
  };
}

const startsOf = async () => (await rig.fleet.starts()).map((ofHost) => ofHost.map(({ at }) => at));

describe('waves', () => {
  it('come one after the other, and never more than max_parallel of one at once', async () => {
    const batch = await begin(12, { waves: [1, 4, 7], max_parallel: 3 }, { command: 'sleep 0.6' });
    expect(await batch.over()).toMatchObject({ state: 'succeeded', wave: 3, counts: { succeeded: 12 } });
    const starts = (await startsOf()).map(([at]) => at!);
    const waves = [starts.slice(0, 1), starts.slice(1, 5), starts.slice(5)];
    for (const [i, wave] of waves.slice(1).entries())
      expect(Math.min(...wave)).toBeGreaterThanOrEqual(Math.max(...waves[i]!) + 600);
    expect(mostAtOnce((await rig.fleet.starts()).flat(), 600)).toBeLessThanOrEqual(3);
  });

  it('wait between each other until somebody resumes the batch, or for as long as was asked', async () => {
    const manual = await begin(4, { waves: [2], wave_pause_seconds: null }, {});
    await manual.that(({ awaits_wave }) => awaits_wave);
    expect((await startsOf()).flat()).toHaveLength(2);
    await manual.order({ kind: 'resume' });
    expect(await manual.over()).toMatchObject({ state: 'succeeded', wave: 2 });
    await rig.fleet.reset();
    const timed = await begin(4, { waves: [2], wave_pause_seconds: 2 }, {});
    const pausing = await timed.that(({ next_wave_at }) => next_wave_at !== null);
    expect(pausing).toMatchObject({ state: 'running', awaits_wave: false });
    expect(await timed.over()).toMatchObject({ state: 'succeeded', next_wave_at: null });
    const [first, , third] = await startsOf();
    expect(third![0]! - first![0]!).toBeGreaterThanOrEqual(2_000);
  });
});

describe('a limit with on_limit pause', () => {
  it('pauses, and counts anew from when the batch is resumed', async () => {
    await rig.fleet.spoil([10, 11]);
    const reversed = rig.names.slice(8).toReversed();
    const { id, batches } = await submitBatch(rig.stores, reversed, {
      ...{ max_parallel: 1, max_failures: 0, on_limit: 'pause' },
    });
    for (const failed of [1, 2]) {
      const paused = await batchThat(
        batches,
        id,
        ({ state, counts }) => state === 'paused' && counts.failed === failed,
      );
      expect(paused).toMatchObject({ stopped_because: 'max_failures', counts: { unstarted: 4 - failed } });
      await batches.order(id, { kind: 'resume' });
      await rig.stores.wake.batch(id);
    }
    const over = await overIn(batches, id);
    expect(over).toMatchObject({
      state: 'failed',
      stopped_because: null,
      counts: { failed: 2, succeeded: 2 },
    });
  });
});

describe('a pause', () => {
  it('holds back what waits for its host, and a resume lets it go', async () => {
    const { hosts, wake } = rig.stores;
    const six = rig.names.slice(0, 6);
    for (const host of six) await hosts.setDraining(host, true);
    const late = await begin(6, {}, { command: 'sleep 0.1' });
    await late.that(({ counts }) => counts.queued === 6, 'jobs that wait for draining hosts');
    await late.order({ kind: 'pause' });
    for (const host of six) {
      await hosts.setDraining(host, false);
      await wake.dispatch(host);
    }
    await until(async () => (await late.held()) === 6, { what: 'all of them to be held back' });
    expect((await startsOf()).flat()).toEqual([]);
    await late.order({ kind: 'resume' });
    expect(await late.over()).toMatchObject({ state: 'succeeded', counts: { succeeded: 6 } });
  });
});

describe('a cancel', () => {
  it('says what is proven dead, what never started, and what is on silent hosts until they are back', async () => {
    await rig.fleet.doom([0]);
    const batch = await begin(8, { max_parallel: 5 }, { command: 'sleep 60' });
    await batch.that(({ counts }) => counts.running + counts.unreachable === 5, 'five that run');
    await batch.order({ kind: 'cancel', by: 'test', reason: null });
    const canceling = await batch.that(({ counts }) => counts.canceled === 4, 'four proven dead');
    expect(canceling).toMatchObject({ state: 'canceling', counts: { canceling: 1, unstarted: 3 } });
    await rig.fleet.revive([0]);
    expect(await batch.over()).toMatchObject({ state: 'canceled', counts: { canceled: 5, unstarted: 3 } });
    expect((await startsOf()).flat()).toHaveLength(5);
  }, 90_000);
});

describe('a batch that replaces another', () => {
  it('waits for what that one waited for, if that one never began', async () => {
    const { stores } = rig;
    await rig.fleet.doom([1]);
    const hosts = [rig.names[1]!];
    const first = await submitBatch(stores, hosts, {}, { command: 'sleep 1', poll_interval: 1 });
    await batchThat(first.batches, first.id, ({ counts }) => counts.unreachable === 1);
    const second = await submitBatch(stores, hosts, { replaces: first.id });
    await batchThat(first.batches, first.id, ({ counts }) => counts.canceling === 1);
    const third = await submitBatch(stores, hosts, { replaces: second.id });
    expect(await overIn(second.batches, second.id)).toMatchObject({ state: 'canceled', made: 0 });
    // Looked at again and again meanwhile.
    await stores.wake.batch(third.id);
    await until(async () => (await stores.redis.hexists(stores.keys.batch(third.id), 'awake')) === 0);
    expect(await third.batches.get(third.id)).toMatchObject({ state: 'running', made: 0 });
    await rig.fleet.revive([1]);
    await overIn(first.batches, first.id, 60_000);
    expect(await overIn(third.batches, third.id)).toMatchObject({ state: 'succeeded' });
  }, 90_000);
});

describe('further attempts', () => {
  it('of what was started once go on after the batch has stopped', async () => {
    const { stores } = rig;
    await rig.fleet.spoil([3, 4]);
    const retry = { max_attempts: 2, backoff_seconds: 2, on: ['exit' as const] };
    const hosts = [rig.names[3]!, rig.names[4]!, rig.names[5]!];
    const fields = { max_parallel: 2, max_failures: 0 };
    const { id, batches, jobOf } = await submitBatch(stores, hosts, fields, { retry, poll_interval: 1 });
    const over = await overIn(batches, id, 45_000);
    expect(over).toMatchObject({ state: 'stopped', counts: { failed: 2, unstarted: 1 } });
    for (const host of hosts.slice(0, 2))
      expect(await stores.jobs.get(jobOf(host))).toMatchObject({ state: 'failed', attempt: 2 });
  }, 60_000);
});

describe('a lost job that is found', () => {
  it('changes the counts, and the end, of a batch that was over', async () => {
    await rig.fleet.doom([6]);
    const host = rig.names[6]!;
    const { id, batches, jobOf } = await submitBatch(
      rig.stores,
      [host],
      {},
      { command: 'sleep 2', lost_after_seconds: 1, poll_interval: 1 },
    );
    expect(await overIn(batches, id, 80_000)).toMatchObject({ state: 'failed', counts: { lost: 1 } });
    await rig.fleet.revive([6]);
    const corrected = await batchThat(batches, id, ({ state }) => state === 'succeeded', {
      timeoutMs: 90_000,
      what: 'the correction',
    });
    expect(corrected.counts).toMatchObject({ lost: 0, succeeded: 1 });
    expect(await rig.stores.jobs.get(jobOf(host))).toMatchObject({ state: 'succeeded' });
  }, 200_000);
});
