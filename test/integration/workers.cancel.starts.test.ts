/** A cancel while the start is under way, or its reply is lost: nothing may run that was told to be canceled. */
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { openStage, type Stage, stopped } from '../helpers/stage.ts';
import { until } from '../helpers/until.ts';
import { createScene, PLAIN, PROVEN, type Scene, warm } from '../helpers/ways.ts';
import { endOf } from '../helpers/workers.ts';

let stage: Stage;
let scene: Scene;

beforeAll(async () => {
  stage = await openStage();
});
afterAll(() => stage?.close());
beforeEach(async () => {
  scene = await createScene();
});
afterEach(() => scene.remove());

describe.each(PROVEN)('%s: a cancel', (way) => {
  it('that overtakes the start leaves a tombstone: the start that arrives late starts nothing', async () => {
    await warm(stage.stores, way);
    const start = stage.ways.proxy(way).holdNext();
    const { id } = await stage.submit(way, scene.tree);
    await start.taken;
    expect(await stage.stores.jobs.get(id)).toMatchObject({ state: 'dispatching' });
    await stage.cancel(id);
    const job = await endOf(stage.stores, id);
    expect(job).toMatchObject({ state: 'canceled', started_at: null });
    start.release();
    await warm(stage.stores, way);
    expect(scene.has('begun')).toBe(false);
    expect(await stage.stores.jobs.get(id)).toMatchObject({ state: 'canceled', version: job.version });
  });

  it('of a start whose reply was lost ends what was started', async () => {
    await warm(stage.stores, way);
    stage.ways.proxy(way).loseNextReply();
    const { id } = await stage.submit(way, scene.tree);
    await scene.begun();
    await stage.cancel(id);
    expect(await endOf(stage.stores, id)).toMatchObject(stopped(way));
    expect(scene.alive()).toEqual([]);
  });
});

describe.each(PLAIN)('%s: a cancel', (way) => {
  it('that overtakes the start waits for the id that its reply tells', async () => {
    await warm(stage.stores, way);
    const start = stage.ways.proxy(way).holdNext();
    const { id } = await stage.submit(way, scene.tree, { mode: 'tmux' });
    await start.taken;
    expect(await stage.stores.jobs.get(id)).toMatchObject({ state: 'dispatching' });
    await stage.cancel(id);
    // Nothing is concluded meanwhile: to the agent the job is still unknown.
    const before = Date.now();
    await until(() => Date.now() > before + 1_500);
    expect(await stage.stores.jobs.get(id)).toMatchObject({ state: 'canceling', cancel_delivered_at: null });
    start.release();
    expect(await endOf(stage.stores, id)).toMatchObject(stopped(way));
    await scene.begun().then(() => until(() => scene.alive().length === 0));
  });

  it('of a start whose reply was lost claims nothing', async () => {
    await warm(stage.stores, way);
    stage.ways.proxy(way).loseNextReply();
    const { id } = await stage.submit(way, scene.tree);
    await scene.begun();
    await stage.cancel(id);
    const { state, outcome } = await endOf(stage.stores, id, 40_000);
    if (state === 'canceled') expect(outcome).toMatchObject({ proof: 'none' });
    else expect({ state, kind: outcome?.kind }).toEqual({ state: 'lost', kind: 'ambiguous_start' });
    if (way !== 'A') await until(() => scene.alive().length === 0);
  });
});
