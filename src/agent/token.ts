/**
 * The shared token of this host. Made on the first start if there is none; never logged, never in a reply.
 */
import { createHash, randomBytes, timingSafeEqual } from 'node:crypto';
import { readFileSync, writeFileSync } from 'node:fs';
import { checkSecret } from './private-files.ts';

/** Reads the token, or makes one: 32 random bytes, base64url, mode 0600. @throws where it is too short, or open to others */
export function loadOrMakeToken(file: string): string {
  try {
    writeFileSync(file, `${randomBytes(32).toString('base64url')}\n`, {
      flag: 'wx',
      mode: 0o600,
      flush: true,
    });
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'EEXIST') throw error;
  }
  checkSecret(file);
  const token = readFileSync(file, 'utf8').trim();
  if (token.length < 16) throw new Error(`the token file ${file} holds fewer than 16 characters`);
  return token;
}

/** Compares in constant time; hashing first makes both sides equally long. */
export function createTokenCheck(token: string): (presented: string | undefined) => boolean {
  const expected = createHash('sha256').update(token).digest();
  return (presented) =>
    presented !== undefined && timingSafeEqual(createHash('sha256').update(presented).digest(), expected);
}
