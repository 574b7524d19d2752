import { expect, test } from 'vitest';
import { createStarts } from '../../src/workers/dispatch/starts.ts';

test('starts that went out late together are owed for once, by the latest of them', () => {
  const starts = createStarts(() => {});
  for (const ms of [20, 300, 140]) starts.onLate(ms);
  expect(starts.lateMs()).toBe(300);
  expect(starts.lateMs()).toBe(0);
});
