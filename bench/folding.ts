/**
 * `folding`: what it costs to fold and to unfold 10,000 host names, as a batch of that size does with its targets and its
 * output. In this process, with nothing else; the first call is the one that a command line makes.
 */
import { fold, unfold } from '../src/job/host-names.ts';
import { shuffled } from './measure.ts';
import type { Options } from './scenario.ts';
import { median, type Row } from './table.ts';

const NAMES = 10_000;

/** What fleets are called, the worst last: nothing of it is a range. */
const FLEETS: Record<string, (i: number) => string> = {
  web00042: (i) => `web${`${i}`.padStart(5, '0')}`,
  '10.0.3.7:18443': (i) => `10.0.${i >> 8}.${i & 255}:18443`,
  'rack7-node042.dc1.example.com': (i) =>
    `rack${i % 100}-node${`${Math.floor(i / 100)}`.padStart(3, '0')}.dc1.example.com`,
  'random numbers': () => `n${random(100_000)}-${random(1_000)}.${random(10)}`,
};

export async function run({ short }: Options): Promise<Row[]> {
  return Object.entries(FLEETS).map(([name, nameOf]) => {
    const names = shuffled([...new Set(Array.from({ length: NAMES }, (_, i) => nameOf(i)))]);
    const folding: number[] = [];
    const unfolding: number[] = [];
    let folded = '';
    for (let round = 0; round < (short ? 3 : 21); round++) {
      folding.push(timed(() => (folded = fold(names))));
      unfolding.push(timed(() => unfold([folded], NAMES)));
    }
    return {
      names: `${names.length} like ${name}`,
      'folded, bytes': folded.length,
      'fold, ms': median(folding).toFixed(1),
      'first, ms': folding[0]!.toFixed(1),
      'unfold, ms': median(unfolding).toFixed(1),
    };
  });
}

function timed(work: () => unknown): number {
  const start = performance.now();
  work();
  return performance.now() - start;
}

function random(below: number): number {
  return Math.floor(Math.random() * below);
}
