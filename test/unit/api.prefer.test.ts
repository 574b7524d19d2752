import { expect, test } from 'vitest';
import { parsePrefer } from '../../src/api/prefer.ts';

test.each([
  [undefined, 0, null],
  ['wait=10', 10, 'wait=10'],
  ['wait=100', 60, 'wait=60'],
  ['Wait = 5', 5, 'wait=5'],
  ['wait="7"', 7, 'wait=7'],
  ['respond-async', 0, 'respond-async'],
  ['respond-async, wait=10', 10, 'respond-async, wait=10'],
  ['wait=3; foo=bar, wait=9', 3, 'wait=3'],
  [['respond-async', 'wait=2'], 2, 'respond-async, wait=2'],
  ['wait=soon', 0, null],
  ['wait=-1', 0, null],
  ['wait=1.5', 0, null],
  ['return=minimal', 0, null],
  ['', 0, null],
])('Prefer: %s waits %i s and applies %s', (header, waitSeconds, applied) => {
  expect(parsePrefer(header)).toEqual({ waitSeconds, applied });
});
