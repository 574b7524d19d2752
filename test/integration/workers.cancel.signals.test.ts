/** What a cancel sends, and in which order: the signal that was asked for, KILL after the grace, KILL at once when asked again. */
import { existsSync, mkdirSync, rmdirSync, writeFileSync } from 'node:fs';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { openStage, type Stage, stopped } from '../helpers/stage.ts';
import { until } from '../helpers/until.ts';
import { createScene, PROVEN, type Scene } from '../helpers/ways.ts';
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

describe.each(PROVEN)('%s: a cancel', (way) => {
  it('kills what ignores the signal, after the grace', async () => {
    const { id } = await stage.submit(way, scene.stubborn);
    await stateOf(stage.stores, id, 'running');
    await scene.begun();
    await stage.cancel(id);
    expect(await endOf(stage.stores, id)).toMatchObject(stopped(way));
    expect(scene.alive()).toEqual([]);
  });

  it('sends the signal that was asked for, and keeps the code of a command that cleans up', async () => {
    const command = `trap "touch ${scene.file('told')}; exit 9" INT; touch ${scene.file('begun')}; while :; do sleep 0.1; done`;
    const { id } = await stage.submit(way, command);
    await stateOf(stage.stores, id, 'running');
    await scene.begun();
    await stage.cancel(id, { signal: 'INT', grace_seconds: 20 });
    expect(await endOf(stage.stores, id)).toMatchObject({ ...stopped(way), outcome: { return_code: 9 } });
    expect(scene.has('told')).toBe(true);
  });

  it('that waits for its grace is cut short by another one that asks for KILL', async () => {
    const { id } = await stage.submit(way, scene.stubborn);
    await stateOf(stage.stores, id, 'running');
    await scene.begun();
    await stage.cancel(id, { grace_seconds: 600 });
    await until(async () => (await stage.stores.jobs.get(id))?.state === 'canceling');
    await stage.cancel(id, { signal: 'KILL', grace_seconds: 0 });
    expect(await endOf(stage.stores, id, 30_000)).toMatchObject(stopped(way));
    expect(scene.alive()).toEqual([]);
  });
});

// In a cgroup of version 1 that is frozen SIGKILL waits, as it does for a process that hangs in its kernel.
const FREEZER = '/sys/fs/cgroup/freezer';
const canFreeze = process.getuid?.() === 0 && existsSync(`${FREEZER}/cgroup.procs`);

describe.skipIf(!canFreeze).each(['full', 'B-launcher'] as const)(
  '%s: a process that cannot be killed',
  (way) => {
    const cgroup = `${FREEZER}/sluice-test-${process.pid}-${way}`;
    const freeze = (state: 'FROZEN' | 'THAWED') => writeFileSync(`${cgroup}/freezer.state`, state);
    beforeAll(() => mkdirSync(cgroup));
    afterAll(async () => {
      freeze('THAWED');
      await until(() => {
        rmdirSync(cgroup);
        return true;
      });
    });

    it('keeps its job canceling, is named in its events, and proves it once it is gone', async () => {
      const { id } = await stage.submit(way, scene.tree);
      await stateOf(stage.stores, id, 'running');
      await scene.begun();
      writeFileSync(`${cgroup}/cgroup.procs`, String(scene.pid('child')));
      freeze('FROZEN');
      await stage.cancel(id, { grace_seconds: 0 });
      const told = async () => (await stage.stores.jobs.events(id)).map(({ why }) => why);
      const words = `still there after KILL: process ${scene.pid('child')}`;
      await until(async () => (await told()).includes(words), { timeoutMs: 45_000 });
      expect(await stage.stores.jobs.get(id)).toMatchObject({ state: 'canceling' });
      freeze('THAWED');
      expect(await stage.reaches(id, way, 'canceled')).toMatchObject({
        ...stopped(way),
        outcome: { leftover_processes: 0 },
      });
      expect(scene.alive()).toEqual([]);
      expect((await told()).filter((why) => why.startsWith('still there'))).toHaveLength(1);
    });
  },
);
