/** How long a job may be missing on the host that has just taken it. */
import { expect, it } from 'vitest';
import { isJustStarted } from '../../src/net/agent/answers.ts';

const now = () => Date.now();

it('a job that was taken a moment ago may be missing on its host for a while', () => {
  expect(isJustStarted({ state: 'running', dispatched_at: now() })).toBe(true);
  expect(isJustStarted({ state: 'running', dispatched_at: now() - 120_000 })).toBe(false);
});

it('of a job whose start is in question, or that was given up, unknown is never taken for running', () => {
  expect(isJustStarted({ state: 'dispatching', dispatched_at: now() })).toBe(false);
  expect(isJustStarted({ state: 'lost', dispatched_at: now() })).toBe(false);
  expect(isJustStarted({ state: 'running', dispatched_at: null })).toBe(false);
});
