/** A batch and what others do at the same time: it takes nobody's turn, and the hosts' own limits hold for it. */
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { type BatchFleet, startBatchFleet } from '../helpers/batch-fleet.ts';
import { batchThat, overIn, submitBatch } from '../helpers/batches.ts';
import { newJob } from '../helpers/stores.ts';
import { endOf, stateOf } from '../helpers/workers.ts';

const HOSTS = 800;

let rig: BatchFleet;
let others: string;

beforeAll(async () => {
  rig = await startBatchFleet({ hosts: HOSTS + 1, delayMs: [5, 20] });
  others = rig.names.at(-1) as string;
});
afterAll(async () => rig?.stop());

describe('a batch', () => {
  it('lets the single job of another caller start before the hosts that it still waits for', async () => {
    const hosts = rig.names.slice(0, HOSTS);
    const { id, batches } = await submitBatch(rig.stores, hosts, { max_parallel: HOSTS });
    await batchThat(batches, id, ({ made }) => made === HOSTS);
    const before = (await rig.fleet.starts()).flat().length;
    const single = await rig.stores.submit(newJob({ host: others, command: 'true', created_by: 'other' }));
    await endOf(rig.stores, single.id);
    const starts = (await rig.fleet.starts()).flat();
    const ownStart = starts.find(({ token }) => token.startsWith(single.id));
    const meanwhile = starts.filter(({ at }) => at < (ownStart?.at ?? 0)).length - before;
    expect(before, 'the batch was under way').toBeLessThan(HOSTS - 350);
    // As many as workers have in hand at once, and those begun while it came.
    expect(meanwhile).toBeLessThan(300);
    expect(await overIn(batches, id, 120_000)).toMatchObject({
      state: 'succeeded',
      counts: { succeeded: HOSTS },
    });
  }, 180_000);

  it('waits on a host for its turn among the jobs of others, and makes nobody exceed max_jobs', async () => {
    const host = others;
    await rig.stores.hosts.put(host, { max_jobs: 1 });
    const first = await rig.stores.submit(newJob({ host, command: 'sleep 1', created_by: 'other' }));
    await stateOf(rig.stores, first.id, 'running');
    const { id, batches, jobOf } = await submitBatch(rig.stores, [host]);
    await batchThat(batches, id, ({ counts }) => counts.queued === 1);
    const last = await rig.stores.submit(newJob({ host, command: 'true', created_by: 'other' }));
    expect(await overIn(batches, id)).toMatchObject({ state: 'succeeded' });
    await endOf(rig.stores, last.id);
    const order = (await rig.fleet.starts())[HOSTS]!.map(({ token }) => token.replace(/-1$/, ''));
    expect(order.slice(-3).toSorted()).toEqual([first.id, jobOf(host), last.id].toSorted());
    expect((await rig.fleet.counters())[HOSTS]!.mostRunning).toBe(1);
  });
});
