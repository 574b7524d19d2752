/**
 * Starts of a batch that are under way when it stops or is paused: one that has not arrived is not sent again, nor is one
 * that was held up in the gateway. The agents count what they start.
 */
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { Batch } from '../../src/job/batch.ts';
import { startBaseAgent } from '../helpers/base-agent.ts';
import { type BatchFleet, startBatchFleet } from '../helpers/batch-fleet.ts';
import { batchThat, overIn, submitBatch } from '../helpers/batches.ts';
import { startRedis } from '../helpers/redis.ts';
import { startStallingProxy } from '../helpers/stalling-proxy.ts';
import { newJob, openStores } from '../helpers/stores.ts';
import { until } from '../helpers/until.ts';
import { startTestWorkers, stateOf } from '../helpers/workers.ts';

describe('a start that never arrived', () => {
  let rig: BatchFleet;
  beforeAll(async () => {
    rig = await startBatchFleet({ hosts: 4, silentMs: 300 });
  });
  afterAll(async () => rig?.stop());

  /** A batch whose start was swallowed on the first of these hosts. */
  async function swallowed(indexes: number[], fields: Partial<Batch>, command: string) {
    const [first = 0] = indexes;
    await rig.fleet.silence([first]);
    const hosts = indexes.map((i) => rig.names[i] as string);
    const batch = await submitBatch(rig.stores, hosts, fields, { command, poll_interval: 1 });
    const job = batch.jobOf(hosts[0] as string);
    await stateOf(rig.stores, job, 'dispatching');
    await until(async () => (await requestsOf(first)).run > 0, { what: 'the start that is swallowed' });
    return { ...batch, job, first };
  }

  const requestsOf = async (i: number) => (await rig.fleet.counters())[i]!.requests;
  const startsOf = async (i: number) => (await rig.fleet.starts())[i]!.map(({ token }) => token);

  /** The host answers again, and its pauses are cut short. */
  async function back(i: number): Promise<void> {
    await rig.fleet.revive([i]);
    await rig.forgetHealth();
    await rig.stores.wake.dispatch(rig.names[i] as string);
  }

  it('is not sent after its batch has stopped: its job is withdrawn', async () => {
    await rig.fleet.spoil([1]);
    const { id, batches, first, job } = await swallowed([0, 1], { max_failures: 0 }, 'sleep 1');
    await batchThat(batches, id, ({ state }) => state === 'stopping');
    await back(first);
    const over = await overIn(batches, id);
    expect(over).toMatchObject({ state: 'stopped', counts: { failed: 1, unstarted: 1 } });
    expect(await startsOf(first)).toEqual([]);
    const { outcome } = await stateOf(rig.stores, job, 'canceled');
    expect(outcome?.message).toContain('crossed max_failures');
  });

  it('is sent again only when its paused batch is resumed', async () => {
    const { id, batches, first, job } = await swallowed([2], {}, 'true');
    expect(await batches.order(id, { kind: 'pause' })).toBe('done');
    await back(first);
    await until(async () => (await requestsOf(first)).status > 0, { what: 'the host to be asked about it' });
    expect(await startsOf(first)).toEqual([]);
    expect(await batches.get(id)).toMatchObject({ state: 'paused', counts: { queued: 1 } });
    expect(await batches.order(id, { kind: 'resume' })).toBe('done');
    expect(await overIn(batches, id)).toMatchObject({ state: 'succeeded' });
    expect(await startsOf(first)).toEqual([`${job}-1`]);
  });

  it('goes on where it arrives late, with its batch paused', async () => {
    const { id, batches, first, job } = await swallowed([3], {}, 'sleep 1');
    expect(await batches.order(id, { kind: 'pause' })).toBe('done');
    await rig.fleet.revive([first]);
    const { address, token } = rig.fleet.hosts[first]!;
    const body = JSON.stringify({ job_id: `${job}-1`, command: 'sleep 1' });
    await fetch(`http://${address}/run`, { method: 'POST', headers: { 'x-agent-token': token }, body });
    await back(first);
    expect(await overIn(batches, id)).toMatchObject({ state: 'succeeded' });
    expect(await startsOf(first)).toEqual([`${job}-1`]);
  });
});

describe('a start that a slow store holds up', () => {
  it('is not sent after its batch was paused, and is once that is resumed', async () => {
    const [redis, agent] = await Promise.all([startRedis(), startBaseAgent({ generation: 'B', rate: null })]);
    const stores = await openStores(redis.url);
    // The script of moves in a batch is in Redis by then: else its name alone is sent first, and nothing is moved by that.
    const ofBatch = { batch_id: 'batch_of-nobody', batch_index: 0 };
    const known = await stores.submit(newJob({ host: 'nobody', command: 'true', ...ofBatch }));
    await stores.cancel(known.id, { signal: 'TERM', grace_seconds: 1, reason: null }, 'test');
    const proxy = await startStallingProxy(redis.url, '"to":"dispatching"');
    const workers = await startTestWorkers(proxy.url, stores);
    try {
      const { address, token, fingerprint } = agent;
      await stores.hosts.put('plain', { address, token, tls: { fingerprint }, launcher: false, rate: null });
      const { id, batches, jobOf } = await submitBatch(stores, ['plain'], {}, { command: 'echo held up' });
      await proxy.stalled;
      const { dispatched_at } = await stateOf(stores, jobOf('plain'), 'dispatching');
      // Longer than a start that needs no second look.
      await until(() => Date.now() > (dispatched_at as number) + 1_500);
      await batches.order(id, { kind: 'pause' });
      proxy.goOn();
      await until(async () => (await stores.redis.scard(stores.keys.batchHeld(id))) === 1, {
        what: 'its job to be held back',
      });
      expect(agent.startsOf('echo held up')).toBe(0);
      await batches.order(id, { kind: 'resume' });
      await stores.wake.batch(id);
      expect(await overIn(batches, id)).toMatchObject({ state: 'succeeded' });
      expect(agent.startsOf('echo held up')).toBe(1);
    } finally {
      proxy.goOn();
      await workers.close();
      await proxy.stop();
      await agent.close();
      await stores.close();
      await redis.stop();
    }
  });
});
