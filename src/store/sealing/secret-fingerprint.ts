/**
 * Which secret key this gateway's records are sealed with. Two processes with different keys would seal what the
 * other cannot open, and nobody would notice before a job needs a token: so the first process leaves its key's
 * fingerprint, and one with another key must not start.
 */
import type { Keys } from '../keys.ts';
import type { Redis } from '../redis.ts';

/** @returns false if the records are sealed with another key */
export async function claimSecretKey(redis: Redis, keys: Keys, fingerprint: string): Promise<boolean> {
  // Read first: a process of a gateway that is known may start while Redis takes no writes.
  const claimed = await redis.get(keys.secretFingerprint);
  if (claimed !== null) return claimed === fingerprint;
  await redis.setnx(keys.secretFingerprint, fingerprint);
  return (await redis.get(keys.secretFingerprint)) === fingerprint;
}
