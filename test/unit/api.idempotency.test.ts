import fc from 'fast-check';
import { expect, test } from 'vitest';
import { fingerprint, parseIdempotencyKey } from '../../src/api/idempotency.ts';

const pepper = Buffer.alloc(32, 1);

test.each([
  [undefined, null],
  ['"a"', 'a'],
  ['a', 'a'],
  ['"say \\"hi\\" \\\\"', 'say "hi" \\'],
  ['"with blanks"', 'with blanks'],
  [' dag/run:1+2 ', 'dag/run:1+2'],
])('%s is the key %s', (header, key) => {
  expect(parseIdempotencyKey(header)).toBe(key);
});

test.each(['', '""', '"half', 'half"', 'two words', '"\\n"', 'ü', '"ü"', `"${'x'.repeat(256)}"`])(
  '%j is no key',
  (header) => {
    expect(() => parseIdempotencyKey(header)).toThrow(/Idempotency-Key must be/);
  },
);

test('any printable key comes back as it was quoted', () => {
  const keys = fc.string({
    unit: fc.integer({ min: 0x20, max: 0x7e }).map((code) => String.fromCharCode(code)),
    minLength: 1,
    maxLength: 255,
  });
  fc.assert(
    fc.property(keys, (key) => {
      expect(parseIdempotencyKey(`"${key.replaceAll(/(["\\])/g, '\\$1')}"`)).toBe(key);
    }),
  );
});

test('the order of fields makes no difference, everything else does', () => {
  const body = { a: 1, b: { c: [1, 2], d: null } };
  const same = { b: { d: null, c: [1, 2] }, a: 1 };
  expect(fingerprint(same, pepper)).toBe(fingerprint(body, pepper));
  for (const other of [{ a: 1 }, { a: '1', b: body.b }, { a: 1, b: { c: [2, 1], d: null } }, []]) {
    expect(fingerprint(other, pepper)).not.toBe(fingerprint(body, pepper));
  }
});

test('without the pepper a body cannot be guessed from its fingerprint', () => {
  expect(fingerprint({}, pepper)).not.toBe(fingerprint({}, Buffer.alloc(32, 2)));
});
