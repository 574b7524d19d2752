import { expect, test } from 'vitest';
import { judge } from '../../src/workers/deliver/schedule.ts';

const schedule = { pausesSeconds: [5, 30, 120], random: () => 0.5 };
const failed = { status: 500, retryAfterMs: null };

test('pauses grow with the attempts, and one more failure after the last pause is the end', () => {
  expect(judge(failed, 0, schedule)).toEqual({ kind: 'retry', delayMs: 5_000 });
  expect(judge(failed, 1, schedule)).toEqual({ kind: 'retry', delayMs: 30_000 });
  expect(judge(failed, 2, schedule)).toEqual({ kind: 'retry', delayMs: 120_000 });
  expect(judge(failed, 3, schedule)).toEqual({ kind: 'dead', reason: 'all 4 attempts failed' });
});

test('a pause strays by a tenth of its length at most', () => {
  const delays = [0, 0.999].map((random) => judge(failed, 1, { ...schedule, random: () => random }));
  expect(delays[0]).toEqual({ kind: 'retry', delayMs: 27_000 });
  expect(delays[1]).toMatchObject({ kind: 'retry', delayMs: expect.closeTo(32_994, 0) });
});

test.each([200, 201, 204, 299])('%i is delivered', (status) => {
  expect(judge({ status, retryAfterMs: null }, 0, schedule)).toEqual({ kind: 'delivered' });
});

test.each([100, 199, 301, 302, 400, 404, 429, 500, 503, null])('%s is tried again', (status) => {
  expect(judge({ status, retryAfterMs: null }, 0, schedule)).toMatchObject({ kind: 'retry' });
});

test('410 ends it at once', () => {
  expect(judge({ status: 410, retryAfterMs: null }, 0, schedule)).toMatchObject({ kind: 'dead' });
});

test('Retry-After lengthens a pause, never shortens it, and never beyond an hour', () => {
  const asked = (retryAfterMs: number) => judge({ status: 429, retryAfterMs }, 0, schedule);
  expect(asked(20_000)).toEqual({ kind: 'retry', delayMs: 20_000 });
  expect(asked(1_000)).toEqual({ kind: 'retry', delayMs: 5_000 });
  expect(asked(86_400_000)).toEqual({ kind: 'retry', delayMs: 3_600_000 });
});
