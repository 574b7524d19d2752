import { mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { newSecretKey, readOrMakeSecretKey, readSecretKey } from '../../src/config/secret-key.ts';

let dir: string;
beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), 'sluice-secret-'));
});
afterEach(() => rmSync(dir, { recursive: true, force: true }));

it('makes the file once, for its owner only, and then reads it', () => {
  const file = join(dir, 'secret.key');
  const made = readOrMakeSecretKey(file);
  expect(made).toHaveLength(32);
  expect(statSync(file).mode & 0o777).toBe(0o600);
  expect(readOrMakeSecretKey(file)).toEqual(made);
});

it('reads what `sluice keys secret` prints', () => {
  const file = join(dir, 'secret.key');
  const text = newSecretKey();
  writeFileSync(file, text);
  expect(readSecretKey(file)).toEqual(Buffer.from(text, 'base64'));
});

it('says how to make a file that is missing', () => {
  expect(() => readSecretKey(join(dir, 'missing'))).toThrow(/sluice keys secret > /);
});

it('refuses a file with anything else, and leaves it as it is', () => {
  const file = join(dir, 'secret.key');
  writeFileSync(file, 'hunter2\n');
  expect(() => readOrMakeSecretKey(file)).toThrow(/does not hold 32 bytes in base64/);
  expect(readFileSync(file, 'utf8')).toBe('hunter2\n');
});
