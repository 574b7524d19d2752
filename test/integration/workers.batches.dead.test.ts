/**
 * A batch for 1,000 hosts of which 100 are dead: 34 refuse connections, 33 take requests and answer none, 33 die while
 * their job runs. With limits it stops as documented, and starts nothing after the change that crossed one; without
 * limits it does not hang on the dead.
 */
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { type BatchFleet, mostAtOnce, startBatchFleet } from '../helpers/batch-fleet.ts';
import { batchThat, countsOf, overIn, submitBatch } from '../helpers/batches.ts';

const ALIVE = 900;
const REFUSING = 34;
const SILENT = 33;
const DOOMED = 33;
const LASTS_MS = 1_000;
const COMMAND = { command: `sleep ${LASTS_MS / 1_000}` };

const silent = Array.from({ length: SILENT }, (_, i) => i * 9);
const doomed = Array.from({ length: DOOMED }, (_, i) => 300 + i * 9);

let rig: BatchFleet;
let hosts: string[];

beforeAll(async () => {
  rig = await startBatchFleet({ hosts: ALIVE + SILENT + DOOMED, refusing: REFUSING, silentMs: 400 });
  // The dead come among the others, so that no batch is over before it meets them.
  hosts = [...rig.names];
  for (const [i, name] of rig.refusers.entries()) hosts.splice(i * 25, 0, name);
});
afterEach(async () => {
  await rig.fleet.revive([...silent, ...doomed]);
  await rig.forgetHealth();
  await rig.fleet.reset();
});
afterAll(async () => rig?.stop());

async function strike(): Promise<void> {
  await rig.fleet.silence(silent);
  await rig.fleet.doom(doomed);
}

/** Changes of the batch's jobs after the one that crossed its limit. */
async function startedAfter(id: string, isOurs: (job: string) => boolean): Promise<string[]> {
  const changes = await rig.changes();
  const crossed = changes.findIndex((change) => change.id === id && change.type === 'batch.stopping');
  expect(crossed, 'the change that crossed the limit').toBeGreaterThan(-1);
  const after = changes
    .slice(crossed)
    .filter(({ type, id: job = '' }) => type === 'job.dispatching' && isOurs(job));
  return after.map(({ id: job = '' }) => job);
}

describe('a batch for 1,000 hosts with 100 dead ones among them', () => {
  it('stops at its max_unreachable of 5 %: nothing is started after the change that crossed it', async () => {
    await strike();
    const fields = { max_parallel: 100, max_unreachable: 50 };
    const { id, batches, jobOf } = await submitBatch(rig.stores, hosts, fields, COMMAND);
    const jobs = new Set(hosts.map(jobOf));
    const stopping = await batchThat(batches, id, ({ state }) => state === 'stopping', {
      timeoutMs: 180_000,
      what: 'the stop',
    });
    expect(stopping.stopped_because).toBe('max_unreachable');
    // Hosts that were down are back: what died there is over, and the batch with it.
    await rig.fleet.revive([...silent, ...doomed]);
    const over = await overIn(batches, id, 120_000);
    expect(over).toMatchObject({ state: 'stopped', stopped_because: 'max_unreachable', total: 1_000 });
    expect(await startedAfter(id, (job) => jobs.has(job))).toEqual([]);
    expect(over.counts.unstarted).toBeGreaterThan(0);
    expect(over.counts).toEqual(countsOf(await batches.standings(over)));
    expect(await rig.fleet.startedTwice()).toEqual([]);
    expect(over.counts.failed + over.counts.lost).toBe(0);
  }, 330_000);

  it('does not hang on them without a limit: all others have run', async () => {
    await strike();
    const job = { ...COMMAND, start_deadline_seconds: 12 };
    const { id, batches } = await submitBatch(rig.stores, hosts, { max_parallel: 100 }, job);
    await batchThat(batches, id, ({ counts }) => counts.succeeded === ALIVE, {
      timeoutMs: 180_000,
      what: 'the end of all on live hosts',
    });
    const starts = (await rig.fleet.starts()).flat();
    expect(starts).toHaveLength(ALIVE + DOOMED);
    expect(mostAtOnce(starts, LASTS_MS)).toBeLessThanOrEqual(100);
    await rig.fleet.revive([...silent, ...doomed]);
    const over = await overIn(batches, id, 120_000);
    expect(over).toMatchObject({ state: 'failed', stopped_because: null });
    expect(over.counts).toMatchObject({ succeeded: ALIVE + DOOMED, expired: REFUSING + SILENT });
    expect(await rig.fleet.startedTwice()).toEqual([]);
  }, 330_000);

  it('stops at its max_failures of 5 %, exactly: what was under way is all that adds to it', async () => {
    const failing = Array.from({ length: 100 }, (_, i) => i * 9);
    await rig.fleet.spoil(failing);
    const fields = { max_parallel: 40, max_failures: 50 };
    const { id, batches, jobOf } = await submitBatch(rig.stores, rig.names, fields, COMMAND);
    const jobs = new Set(rig.names.map(jobOf));
    const over = await overIn(batches, id, 120_000);
    expect(over).toMatchObject({ state: 'stopped', stopped_because: 'max_failures' });
    expect(await startedAfter(id, (job) => jobs.has(job))).toEqual([]);
    expect(over.counts.failed).toBeGreaterThan(50);
    expect(over.counts.failed).toBeLessThanOrEqual(50 + 40);
    const starts = (await rig.fleet.starts()).flat();
    expect(starts).toHaveLength(over.counts.failed + over.counts.succeeded);
    expect(over.counts.unstarted).toBe(rig.names.length - starts.length);
    expect(mostAtOnce(starts, LASTS_MS)).toBeLessThanOrEqual(40);
  }, 150_000);
});
