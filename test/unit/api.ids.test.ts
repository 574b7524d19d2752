import { decodeTime } from 'ulid';
import { expect, test } from 'vitest';
import { createIds } from '../../src/api/ids.ts';

test('ids grow, carry their time, and are never the same, within a millisecond or in two processes at once', () => {
  const [one, other] = [createIds(), createIds()];
  const now = Date.now();
  const ids = Array.from({ length: 20_000 }, (_, i) => one(now + Math.floor(i / 3)));
  const others = Array.from({ length: 20_000 }, (_, i) => other(now + Math.floor(i / 3)));
  expect(ids.toSorted()).toEqual(ids);
  expect(ids.map(decodeTime)).toEqual(ids.map((_, i) => now + Math.floor(i / 3)));
  expect(new Set([...ids, ...others]).size).toBe(40_000);
});
