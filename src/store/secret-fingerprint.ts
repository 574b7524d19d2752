/**
 * Which secret key this gateway's records are sealed with. Two processes with different keys would seal what the
 * other cannot open, and nobody would notice before a job needs a token: so the first process leaves its key's
 * fingerprint, and one with another key must not start.
 */
import type { Keys } from './keys.ts';
import type { Redis } from './redis.ts';

/** @returns false if the records are sealed with another key */
export async function claimSecretKey(redis: Redis, keys: Keys, fingerprint: string): Promise<boolean> {
  await redis.setnx(keys.secretFingerprint, fingerprint);
  return (await redis.get(keys.secretFingerprint)) === fingerprint;
}
