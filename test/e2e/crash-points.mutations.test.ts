/**
 * The check of the checks: with a promise broken on purpose, a death at a crash point is noticed, and what is said names
 * the promise. What finds nothing wrong with a broken gateway proves nothing about a whole one.
 */
import { afterAll, beforeAll, expect, it } from 'vitest';
import type { CrashPoint } from '../../src/job/crash-points.ts';
import { dieAt, openWorld } from '../helpers/deaths.ts';
import { MUTATIONS, type MutationName } from '../mutations/mutations.ts';

let world: Awaited<ReturnType<typeof openWorld>>;
beforeAll(async () => {
  world = await openWorld();
});
afterAll(() => world?.close());

const NOTICED: Record<MutationName, { point: CrashPoint; as: RegExp }> = {
  'launch token ignored': { point: 'dispatch.answered', as: /^doubled: / },
  'reconcile skipped': { point: 'dispatch.answered', as: /^doubled: / },
  'told before committed': { point: 'settle.committed', as: /^told before committed: / },
};

it.concurrent.each(Object.keys(MUTATIONS) as MutationName[])(
  'with the %s, a death is noticed as the broken promise that it is',
  async (mutation) => {
    const { point, as } = NOTICED[mutation];
    const broken = await dieAt(world, point, mutation);
    console.log(`${mutation}: breaks "${MUTATIONS[mutation].breaks}"; found:\n  ${broken.join('\n  ')}`);
    expect(broken).toContainEqual(expect.stringMatching(as));
  },
  240_000,
);
