/**
 * Every crash point once: a process dies just there, another one takes its place, and everything that was acknowledged
 * comes out of it: jobs over and true, started once, told of, and nothing held or queued any more.
 *
 * Starts are counted by the host (each command appends a line to a file of its own), ends by the records, what callers
 * are told by a receiver, and what is left by Redis.
 */
import { afterAll, beforeAll, expect, it } from 'vitest';
import type { CrashPoint } from '../../src/job/crash-points.ts';
import { DEATHS, dieAt, openWorld } from '../helpers/deaths.ts';

let world: Awaited<ReturnType<typeof openWorld>>;
beforeAll(async () => {
  world = await openWorld();
});
afterAll(() => world?.close());

it.concurrent.each(Object.keys(DEATHS) as CrashPoint[])(
  'a process that dies at %s breaks no promise',
  async (point) => expect(await dieAt(world, point)).toEqual([]),
  180_000,
);
