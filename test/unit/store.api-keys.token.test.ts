import { expect, test } from 'vitest';
import { mintToken, tokenId } from '../../src/store/api-keys/token.ts';

test('a minted key has its id in it, and 62 digits of everything else', () => {
  const { id, token } = mintToken();
  expect(token).toMatch(/^slk_[0-9A-Za-z]{8}_[0-9A-Za-z]{43}_[0-9A-Za-z]{6}$/);
  expect(tokenId(token)).toBe(id);
});

test('no two keys are the same', () => {
  const tokens = new Set(Array.from({ length: 500 }, () => mintToken().token));
  expect(tokens.size).toBe(500);
});

test('a key with one character changed is known to be wrong without asking anybody', () => {
  const { token } = mintToken();
  for (const at of [5, 14, 30, token.length - 1]) {
    const other = token[at] === 'a' ? 'b' : 'a';
    expect(tokenId(token.slice(0, at) + other + token.slice(at + 1))).toBeNull();
  }
});

test('anything that is no key has no id', () => {
  for (const text of ['', 'slk_', 'Bearer x', `${mintToken().token} `, mintToken().token.slice(1)]) {
    expect(tokenId(text)).toBeNull();
  }
});
