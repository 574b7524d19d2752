/**
 * What APIs and workers do to the store, each as one command on the model and on a real Redis. Three workers have a view
 * of a job each, as old as the last time they read it: whatever order the commands come in, views and claims are as stale
 * as those of processes that were held up, or taken for dead.
 */
import fc from 'fast-check';
import type { Command } from './store-model.command.ts';
import { cancel, move, note, read, remove } from './store-model.moves.ts';
import { accept, expire, giveBack, release, rescue, take } from './store-model.places.ts';
import { HOSTS } from './store-model.ts';

const host = fc.constantFrom(...HOSTS);
const worker = fc.nat(2);
const n = fc.nat(20);
const yes = fc.boolean();
const mostly = fc.nat(3).map((x) => x > 0);
const wish = fc.record({
  reads: fc.option(n, { freq: 2 }),
  to: n,
  goesOn: mostly,
  broad: yes,
  later: fc.nat(3).map((x) => x === 0),
  anew: yes,
});

const anyAccept = fc
  .record({
    host,
    key: fc.option(fc.nat(5), { freq: 2 }),
    body: fc.nat(1),
    priority: fc.nat(9),
    callback: yes,
  })
  .map(accept);
const anyTake = fc
  .tuple(host, fc.integer({ min: 0, max: 4 }), fc.boolean())
  .map(([at, most, begins]) => take(at, most, begins));
const anyMove = fc.tuple(worker, wish).map(([who, what]) => move(who, what));

export const COMMANDS: fc.Arbitrary<Command>[] = [
  ...often(4, anyAccept),
  ...often(5, anyTake),
  ...often(8, anyMove),
  ...often(2, n.map(expire)),
  ...often(2, n.map(release)),
  ...often(
    2,
    fc.tuple(n, yes).map(([which, later]) => giveBack(which, later)),
  ),
  ...often(
    2,
    fc.tuple(worker, n).map(([who, which]) => read(who, which)),
  ),
  n.map(cancel),
  worker.map(note),
  worker.map(remove),
  fc.tuple(worker, yes).map(([who, lose]) => rescue(who, lose)),
];

function often<Item>(times: number, item: Item): Item[] {
  return Array.from({ length: times }, () => item);
}
