import { expect, test } from 'vitest';
import { hasScope, mayRunAs, mayUseHost } from '../../src/store/api-keys/grants.ts';

test('a key has the scopes that it lists, and admin has all', () => {
  expect(hasScope({ scopes: ['jobs:read'] }, 'jobs:read')).toBe(true);
  expect(hasScope({ scopes: ['jobs:read'] }, 'jobs:submit')).toBe(false);
  expect(hasScope({ scopes: ['admin'] }, 'hosts:write')).toBe(true);
  expect(hasScope({ scopes: [] }, 'jobs:read')).toBe(false);
});

test.each([
  [['*'], 'web1', true],
  [['web*'], 'web1', true],
  [['web*'], 'db1', false],
  [['web1'], 'web10', false],
  [['*.prod:18443'], 'a.b.prod:18443', true],
  [['*.prod:18443'], 'a.prod:18444', false],
  [['a*b*c'], 'a-b-c', true],
  [['a*b*c'], 'a-c-b', false],
  [['ab*ba'], 'aba', false],
  [['w.b1'], 'wxb1', false],
  [['db*', 'web1'], 'web1', true],
  [[], 'web1', false],
])('host patterns %j on %s: %s', (hosts, name, expected) => {
  expect(mayUseHost({ hosts }, name)).toBe(expected);
});

test('a pattern of many stars is answered at once', () => {
  const began = performance.now();
  expect(mayUseHost({ hosts: [`${'*a'.repeat(100)}b`] }, 'a'.repeat(253))).toBe(false);
  // One that tried every way to divide the name would take years.
  expect(performance.now() - began).toBeLessThan(5_000);
});

test("a star stands for every named user, and never for the agent's own", () => {
  expect(mayRunAs({ users: ['*'] }, 'etl')).toBe(true);
  expect(mayRunAs({ users: ['*'] }, null)).toBe(false);
  expect(mayRunAs({ users: [null] }, null)).toBe(true);
  expect(mayRunAs({ users: ['etl'] }, 'root')).toBe(false);
});
