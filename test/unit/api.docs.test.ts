import { readFileSync } from 'node:fs';
import { expect, test } from 'vitest';
import { ERRORS } from '../../src/job/errors.ts';
import { WAITING_FOR } from '../../src/job/waiting-for.ts';
import { SCOPES } from '../../src/store/api-keys.ts';

const page = readFileSync(new URL('../../docs/api.md', import.meta.url), 'utf8');

test('docs/api.md has every problem code with its status, and no other', () => {
  const documented = [...page.matchAll(/^\| `(\w+)` \| (\d{3}) \| (\w+) \| (.+) \|$/gm)];
  const rows = Object.entries(ERRORS).map(([code, { status, retry, title }]) => [
    code,
    `${status}`,
    retry,
    title,
  ]);
  expect(documented.map((row) => row.slice(1))).toEqual(rows);
});

test('docs/api.md has every scope, and no other', () => {
  const section = page.slice(page.indexOf('| scope |'), page.indexOf('A job belongs'));
  expect([...section.matchAll(/^\| `([\w:]+)`/gm)].map(([, scope]) => scope)).toEqual([...SCOPES]);
});

test('docs/api.md has every word for what a job waits for, and no other', () => {
  const section = page.slice(page.indexOf('| `waiting_for` |'), page.indexOf('## Lists'));
  expect([...section.matchAll(/^\| `(\w+)` \| (?!what holds)/gm)].map(([, word]) => word)).toEqual([
    ...WAITING_FOR,
  ]);
});
