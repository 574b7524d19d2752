/**
 * Choices at random that can be made again: the same seed gives the same ones, in the same order. Each stream of
 * choices has a name of its own, so that what one part of a test chooses does not depend on how fast another is.
 */
import { createHash } from 'node:crypto';

export type Random = ReturnType<typeof createRandom>;

/** mulberry32: enough to choose victims with, and five lines. */
export function createRandom(seed: number, stream: string) {
  let state = createHash('sha256').update(`${seed} ${stream}`).digest().readUInt32LE();

  /** At least 0, below 1. */
  function next(): number {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  }

  return {
    /** True in so many of 1. */
    chance: (share: number) => next() < share,
    between: (least: number, most: number) => least + next() * (most - least),
    integer: (below: number) => Math.floor(next() * below),
    /** One of a list, each as often as its weight says against those of the others. */
    byWeight<T>(list: readonly T[], weightOf: (one: T) => number): T {
      let rest = next() * list.reduce((sum, one) => sum + weightOf(one), 0);
      for (const one of list) {
        rest -= weightOf(one);
        if (rest < 0) return one;
      }
      return list.at(-1) as T;
    },
    oneOf: <T>(list: readonly T[]): T => list[Math.floor(next() * list.length)] as T,
  };
}
