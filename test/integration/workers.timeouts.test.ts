/** Timeouts in every way a job can be started: kept by the host, and by the gateway where the host cannot. */
import { readdirSync, readFileSync } from 'node:fs';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { isAlive } from '../helpers/alive.ts';
import { killProcessesOf } from '../helpers/base-agent.processes.ts';
import { openStage, type Stage } from '../helpers/stage.ts';
import { until } from '../helpers/until.ts';
import { createScene, isProven, PLAIN, PROVEN, type Scene, WAYS } from '../helpers/ways.ts';
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

/** The processes that are exactly this command. */
function running(...command: string[]): number[] {
  return readdirSync('/proc')
    .map(Number)
    .filter((pid) => {
      try {
        return pid > 1 && readFileSync(`/proc/${pid}/cmdline`, 'latin1') === `${command.join('\0')}\0`;
      } catch {
        return false;
      }
    });
}

describe.each(WAYS)('%s: a job', (way) => {
  it('that runs longer than its timeout has timed out, with its processes', async () => {
    const { id } = await stage.submit(way, scene.tree, { timeout_seconds: 2 });
    const job = await endOf(stage.stores, id, 40_000);
    expect(job).toMatchObject({
      state: 'timed_out',
      outcome: { kind: 'timeout', return_code: null, proof: isProven(way) ? 'group+marker' : 'none' },
    });
    expect((job.ended_at ?? 0) - (job.started_at ?? 0)).toBeGreaterThanOrEqual(2_000 - 1_000);
    if (way !== 'A') await until(() => scene.alive().length === 0);
  });

  it.each([124, 137])('whose command itself ends with %i has failed, not timed out', async (code) => {
    const { id } = await stage.submit(way, `sh -c "exit ${code}"`, { timeout_seconds: 600 });
    const { state, outcome } = await endOf(stage.stores, id);
    expect({ state, return_code: outcome?.return_code }).toEqual({ state: 'failed', return_code: code });
    expect(['exit', 'signal']).toContain(outcome?.kind);
  });
});

describe.each(PROVEN)('%s: a timer', (way) => {
  it('whose sleep is killed does not end its job early', async () => {
    const timeout_seconds = 70_000 + PROVEN.indexOf(way);
    const command = `sh -c 'touch ${scene.file('begun')}; until [ -e ${scene.file('go-on')} ]; do sleep 0.1; done; exit 5'`;
    const { id } = await stage.submit(way, command, { timeout_seconds });
    await scene.begun();
    const sleeping = () => running('sleep', String(timeout_seconds));
    const [first = 0] = await until(() => sleeping().length > 0 && sleeping());
    process.kill(first, 'SIGKILL');
    // The timer goes on with what is left of its time.
    await until(() =>
      [0, 1, 2, 3, 4].some((s) => running('sleep', String(timeout_seconds - s)).some((pid) => pid !== first)),
    );
    await stateOf(stage.stores, id, 'running');
    scene.write('go-on');
    expect(await endOf(stage.stores, id)).toMatchObject({ state: 'failed', outcome: { return_code: 5 } });
  });
});

describe('a job whose timer was killed on its host', () => {
  it.each(['A-launcher', 'B-launcher', 'C-launcher'] as const)(
    'is stopped by the gateway on %s, and the host proves it',
    async (way) => {
      const { id } = await stage.submit(way, scene.tree, { timeout_seconds: 1 });
      await scene.begun();
      await killProcessesOf(`${id}-1`, ['start', 'job', 'timer']);
      expect(await endOf(stage.stores, id, 50_000)).toMatchObject({
        state: 'timed_out',
        outcome: { kind: 'timeout', return_code: null, proof: 'group+marker' },
      });
      expect(scene.alive()).toEqual([]);
    },
  );
});

describe.each(PLAIN)('%s: a job', (way) => {
  it('that ends by itself while the gateway stops it has its own end', async () => {
    const command = `sh -c 'echo $$ > ${scene.file('main')}; until [ -e ${scene.file('go-on')} ]; do sleep 0.05; done; exit 6'`;
    const isOver = Promise.withResolvers<void>();
    stage.ways.base(way).fault('/cancel', { kind: 'late', until: isOver.promise });
    const asked = stage.ways.base(way).requests['/cancel'] ?? 0;
    const { id } = await stage.submit(way, command, { timeout_seconds: 1 });
    await until(() => (stage.ways.base(way).requests['/cancel'] ?? 0) > asked);
    scene.write('go-on');
    await until(() => !isAlive(scene.pid('main')));
    isOver.resolve();
    expect(await endOf(stage.stores, id)).toMatchObject({ state: 'failed', outcome: { return_code: 6 } });
  });
});
