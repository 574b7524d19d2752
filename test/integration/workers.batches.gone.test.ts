/** Hosts that are removed before their turn in a batch comes: they hold nothing up, and nobody looks after them for ever. */
import { afterAll, beforeAll, expect, it } from 'vitest';
import { type BatchFleet, startBatchFleet } from '../helpers/batch-fleet.ts';
import { batchThat, overIn, submitBatch } from '../helpers/batches.ts';
import { newJob } from '../helpers/stores.ts';
import { until } from '../helpers/until.ts';

let rig: BatchFleet;
beforeAll(async () => {
  rig = await startBatchFleet({ hosts: 4 });
});
afterAll(async () => rig?.stop());

const isArmed = async (host: string) => (await rig.stores.redis.zscore(rig.stores.keys.armed, host)) !== null;

it('a job that nobody could start ends at once, and its wave goes on', async () => {
  const { stores, names } = rig;
  const [, removed, , last] = names as [string, string, string, string];
  const fields = { waves: [1, 2], wave_pause_seconds: null };
  const { id, batches, jobOf } = await submitBatch(stores, names, fields);
  for (const done of [1, 2]) {
    await batchThat(batches, id, ({ awaits_wave, wave }) => awaits_wave && wave === done);
    if (done === 1) expect(await stores.hosts.remove(removed)).toBe(true);
    await batches.order(id, { kind: 'resume' });
    await stores.wake.batch(id);
  }
  const over = await overIn(batches, id);
  expect(over).toMatchObject({ state: 'failed', counts: { succeeded: 3, failed: 1 } });
  expect(await stores.jobs.get(jobOf(removed))).toMatchObject({
    state: 'failed',
    attempt: 0,
    outcome: { kind: 'rejected', message: 'the host is not registered any more' },
  });
  expect(await stores.jobs.get(jobOf(last))).toMatchObject({ state: 'succeeded' });
  await until(async () => !(await isArmed(removed)), { what: 'its mailbox to be looked at no more' });
});

it('what waits for such a host stays armed', async () => {
  const { stores } = rig;
  const { id } = await stores.submit(newJob({ host: 'nobody', command: 'true' }));
  const { armed } = stores.keys;
  await until(async () => Number(await stores.redis.zscore(armed, 'nobody')) > Date.now() + 30_000, {
    what: 'it to be put off',
  });
  expect(await stores.jobs.get(id)).toMatchObject({ state: 'queued' });
  expect(await isArmed('nobody')).toBe(true);
});
