/**
 * The secret key file (`SLUICE_SECRET_KEY_FILE`): 32 random bytes in base64. They seal every secret in Redis, so
 * without this file the records of hosts and webhooks cannot be opened any more: it belongs into a backup, apart
 * from Redis' own.
 */
import { randomBytes } from 'node:crypto';
import { readFileSync, writeFileSync } from 'node:fs';

/** What `sluice keys secret` prints. */
export function newSecretKey(): string {
  return `${randomBytes(32).toString('base64')}\n`;
}

/** @throws Error that names the file and says what is wrong with it */
export function readSecretKey(file: string): Buffer {
  let text: string;
  try {
    text = readFileSync(file, 'utf8').trim();
  } catch (error) {
    const missing = (error as NodeJS.ErrnoException).code === 'ENOENT';
    const remedy = missing ? `; make one with: sluice keys secret > ${file}` : '';
    throw new Error(`the secret key file ${file} cannot be read (${(error as Error).message})${remedy}`);
  }
  const key = Buffer.from(text, 'base64');
  if (key.length === 32 && /^[A-Za-z0-9+/_-]+={0,2}$/.test(text)) return key;
  throw new Error(`the secret key file ${file} does not hold 32 bytes in base64`);
}

/** Reads the file, or makes it (mode 0600) where there is none. */
export function readOrMakeSecretKey(file: string): Buffer {
  try {
    writeFileSync(file, newSecretKey(), { flag: 'wx', mode: 0o600, flush: true });
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'EEXIST') throw error;
  }
  return readSecretKey(file);
}
