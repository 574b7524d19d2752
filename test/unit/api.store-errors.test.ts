import { expect, test } from 'vitest';
import { storeProblem } from '../../src/api/store-errors.ts';
import { SluiceError } from '../../src/job/errors.ts';

const code = (message: string, writes: boolean) => storeProblem(new Error(message), writes)?.code;

test.each([
  "Stream isn't writeable and enableOfflineQueue options is false",
  'connect ECONNREFUSED 127.0.0.1:6379',
  "OOM command not allowed when used memory > 'maxmemory'.",
  'LOADING Redis is loading the dataset in memory',
  "READONLY You can't write against a read only replica.",
  'MISCONF Redis is configured to save RDB snapshots',
  'NOREPLICAS Not enough good replicas to write.',
  'EXECABORT Transaction discarded because of previous errors.',
  'UNBLOCKED force unblock from blocking operation, instance state changed (master -> replica?)',
])('"%s" means that nothing was done', (message) => {
  expect(code(message, true)).toBe('store_unavailable');
  expect(code(message, false)).toBe('store_unavailable');
});

test.each([
  'Command timed out',
  'Reached the max retries per request limit (which is 1).',
  'Connection is closed.',
  'Command aborted due to connection close',
  'read ECONNRESET',
])('"%s" means that a write may have been done, and that a read was not', (message) => {
  expect(code(message, true)).toBe('not_acknowledged');
  expect(code(message, false)).toBe('store_unavailable');
});

test('other errors are not blamed on the store', () => {
  expect(code('x is not a function', true)).toBeUndefined();
  expect(storeProblem(new SluiceError('not_found'), true)).toBeNull();
  expect(storeProblem('ECONNREFUSED', true)).toBeNull();
});
