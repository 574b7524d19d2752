/** A cancel at every moment of a job's life, in every way a job can be started: what is told, and what lives on. */
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { openStage, type Stage, stopped } from '../helpers/stage.ts';
import { until } from '../helpers/until.ts';
import { createScene, type Scene, WAYS, warm } from '../helpers/ways.ts';
import { endOf, stateOf } from '../helpers/workers.ts';

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

describe.each(WAYS)('%s: a cancel', (way) => {
  it('of a job that waits for its time starts nothing', async () => {
    const not_before = Date.now() + 500;
    const { id } = await stage.submit(way, scene.tree, { not_before });
    expect(await stage.cancel(id)).toMatchObject({ kind: 'canceled', job: { state: 'canceled' } });
    await until(() => Date.now() > not_before + 100);
    await warm(stage.stores, way);
    expect(scene.has('begun')).toBe(false);
    expect(await stage.stores.jobs.get(id)).toMatchObject({ state: 'canceled', attempt: 0 });
  });

  it('of a job that waits for a host which is down starts nothing when it is back', async () => {
    await warm(stage.stores, way);
    await stage.ways.proxy(way).refuse();
    const { id } = await stage.submit(way, scene.tree);
    await until(async () => (await stage.stores.hosts.health(way)).failures > 0);
    await stateOf(stage.stores, id, 'queued');
    expect(await stage.cancel(id)).toMatchObject({ kind: 'canceled' });
    await stage.ways.proxy(way).accept();
    await stage.stores.redis.hdel(stage.stores.keys.hostHealth(way), 'retry_at');
    await warm(stage.stores, way);
    expect(scene.has('begun')).toBe(false);
  });

  it('of a running job ends its processes', async () => {
    const { id } = await stage.submit(way, scene.tree);
    await stateOf(stage.stores, id, 'running');
    await scene.begun();
    expect(await stage.cancel(id)).toMatchObject({ kind: 'canceling' });
    expect(await endOf(stage.stores, id)).toMatchObject(stopped(way));
    // Of a process without tmux the first generation only writes down that it was cancelled: hence no proof.
    if (way === 'A') expect(scene.alive()).toHaveLength(2);
    else await until(() => scene.alive().length === 0);
  });

  it('of a job whose host does not answer is delivered when it does again', async () => {
    const { id } = await stage.submit(way, scene.tree);
    await stateOf(stage.stores, id, 'running');
    await scene.begun();
    await stage.ways.proxy(way).refuse();
    await stage.reaches(id, way, 'unreachable');
    await stage.cancel(id);
    await until(async () => {
      await stage.stores.redis.hdel(stage.stores.keys.hostHealth(way), 'retry_at');
      return (await stage.stores.hosts.health(way)).failures > 3;
    });
    expect(await stage.stores.jobs.get(id)).toMatchObject({ state: 'canceling', cancel_delivered_at: null });
    expect(scene.alive()).toHaveLength(2);
    await stage.ways.proxy(way).accept();
    expect(await stage.reaches(id, way, 'canceled')).toMatchObject(stopped(way));
    if (way !== 'A') expect(scene.alive()).toEqual([]);
  });

  it('of a lost job is owed, and corrects it when its host is back', async () => {
    const { id } = await stage.submit(way, scene.tree, { lost_after_seconds: 2 });
    await stateOf(stage.stores, id, 'running');
    await scene.begun();
    await stage.ways.proxy(way).refuse();
    await stage.reaches(id, way, 'lost');
    expect(await stage.cancel(id)).toMatchObject({ kind: 'canceling', job: { state: 'lost' } });
    await stage.ways.proxy(way).accept();
    const job = await stage.reaches(id, way, 'canceled');
    expect(job).toMatchObject(stopped(way));
    expect(job.recovered_at).not.toBeNull();
    if (way !== 'A') expect(scene.alive()).toEqual([]);
  });

  it('that races its natural end tells what became of it', async () => {
    const jobs = [];
    for (let i = 0; i < 4; i++) {
      const done = scene.file(`done-${i}`);
      jobs.push(await stage.submit(way, `sh -c 'sleep 0.6; touch ${done}'`));
    }
    for (const [i, { id }] of jobs.entries()) {
      const job = await until(async () => {
        const now = await stage.stores.jobs.get(id);
        return now && now.state !== 'queued' && now.state !== 'dispatching' && now;
      });
      await until(() => Date.now() > (job.started_at ?? 0) + 500 + 30 * i);
      await stage.cancel(id);
    }
    for (const [i, { id }] of jobs.entries()) {
      const { state, outcome } = await endOf(stage.stores, id, 40_000);
      expect(['succeeded', 'canceled']).toContain(state);
      // Not the other way round: it may have been stopped between its work and its end.
      if (state === 'succeeded') expect([scene.has(`done-${i}`), outcome?.return_code]).toEqual([true, 0]);
    }
  });

  it('that is asked for twice is one', async () => {
    const { id } = await stage.submit(way, scene.tree);
    await stateOf(stage.stores, id, 'running');
    await scene.begun();
    const [first, second] = await Promise.all([stage.cancel(id), stage.cancel(id)]);
    expect([first?.kind, second?.kind]).toEqual(['canceling', 'canceling']);
    expect(await endOf(stage.stores, id)).toMatchObject(stopped(way));
    const states = (await stage.stores.jobs.events(id)).map(({ state }) => state);
    expect(states).toEqual(['queued', 'dispatching', 'running', 'canceling', 'canceled']);
    expect(await stage.cancel(id)).toMatchObject({ kind: 'over' });
  });
});
