import { expect, test } from 'vitest';
import { retryAfterMs } from '../../src/net/retry-after.ts';

test('Retry-After is read as seconds and as a date, and anything else is ignored', () => {
  const now = Date.UTC(2026, 0, 1);
  expect(retryAfterMs('120', now)).toBe(120_000);
  expect(retryAfterMs(new Date(now + 60_000).toUTCString(), now)).toBe(60_000);
  expect(retryAfterMs(new Date(now - 60_000).toUTCString(), now)).toBe(0);
  expect(retryAfterMs('soon', now)).toBeNull();
  expect(retryAfterMs(['1', '2'], now)).toBeNull();
  expect(retryAfterMs(undefined, now)).toBeNull();
});
