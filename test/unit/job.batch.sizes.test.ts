/** Shares of a batch: sizes round up and are at least one, limits round down and may be none. */
import { describe, expect, it } from 'vitest';
import { limitOf, SHARE, sizeOf } from '../../src/job/batch/sizes.ts';

describe('a share of a batch', () => {
  it.each([
    [7, 100, 7, 7],
    ['10%', 120, 12, 12],
    ['10%', 125, 13, 12],
    ['1%', 20, 1, 0],
    ['5%', 1_000, 50, 50],
    ['7%', 100, 7, 7],
    ['0%', 50, 1, 0],
    ['2.5%', 200, 5, 5],
    ['100%', 9_999, 9_999, 9_999],
    ['33.333%', 3, 1, 0],
  ])('%s of %i is a size of %i and a limit of %i', (share, total, size, limit) => {
    expect([sizeOf(share, total), limitOf(share, total)]).toEqual([size, limit]);
  });

  it.each(['101%', '10', '%', '-5%', '1e1%', '10 %', '100.5%', ' 5%', '5%\n'])(
    'is not written %j',
    (text) => {
      expect(SHARE.test(text)).toBe(false);
    },
  );
});
