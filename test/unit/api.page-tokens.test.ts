import { expect, test } from 'vitest';
import { createPageTokens } from '../../src/api/page-tokens.ts';

const tokens = createPageTokens(Buffer.alloc(32, 1));
const filters = ['jobs', { owner: 'etl', state: ['queued'] }];

test('a token leads on in the list that it was made for', () => {
  const token = tokens.issue('job_1', filters);
  expect(token).toMatch(/^[A-Za-z0-9_-]+$/);
  expect(tokens.read(token ?? '', filters)).toBe('job_1');
});

test('at the end there is none, and without one a list begins', () => {
  expect(tokens.issue(null, filters)).toBeNull();
  expect(tokens.read(undefined, filters)).toBeUndefined();
});

test('no other list takes it, and no changed one is taken', () => {
  const token = tokens.issue('job_1', filters) ?? '';
  const refused = { code: 'invalid_page_token' };
  expect(() => tokens.read(token, ['jobs', { owner: 'other' }])).toThrow(expect.objectContaining(refused));
  for (const bad of ['', 'x', token.slice(1), `${token}AA`, `A${token.slice(1)}`]) {
    if (bad !== token) expect(() => tokens.read(bad, filters)).toThrow(expect.objectContaining(refused));
  }
  expect(() => createPageTokens(Buffer.alloc(32, 2)).read(token, filters)).toThrow();
});
