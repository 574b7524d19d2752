/**
 * Sealing: AES-256-GCM for whatever must not be readable in Redis or its files (agent tokens, webhook secrets,
 * environments). The place where a text is kept is its associated data, so that a sealed text moved to another
 * record does not open there. The pepper for API keys comes from the same secret.
 */
import { createCipheriv, createDecipheriv, createHash, hkdfSync, randomBytes } from 'node:crypto';

export interface Sealer {
  /** @param place what the text belongs to, such as `job:<id>:env` */
  seal(text: string, place: string): string;
  /** @throws Error if the text was sealed with another key or for another place */
  open(sealed: string, place: string): string;
  /** Tells one secret key from another, without telling the key. */
  fingerprint: string;
  /** For digests of API keys: kept out of Redis. */
  pepper: Buffer;
}

/** @param secret 32 random bytes, from the secret key file */
export function createSealer(secret: Buffer): Sealer {
  if (secret.length !== 32) throw new RangeError('the secret key must be 32 bytes');
  const derive = (purpose: string) => Buffer.from(hkdfSync('sha256', secret, '', `sluice:${purpose}`, 32));
  const key = derive('seal');
  return {
    seal(text, place) {
      const nonce = randomBytes(12);
      const cipher = createCipheriv('aes-256-gcm', key, nonce);
      cipher.setAAD(Buffer.from(place));
      const sealed = Buffer.concat([cipher.update(text, 'utf8'), cipher.final()]);
      return `v1.${Buffer.concat([nonce, cipher.getAuthTag(), sealed]).toString('base64url')}`;
    },
    open(sealed, place) {
      if (!sealed.startsWith('v1.')) throw new Error('not a sealed text');
      const bytes = Buffer.from(sealed.slice(3), 'base64url');
      const decipher = createDecipheriv('aes-256-gcm', key, bytes.subarray(0, 12));
      decipher.setAAD(Buffer.from(place));
      decipher.setAuthTag(bytes.subarray(12, 28));
      return Buffer.concat([decipher.update(bytes.subarray(28)), decipher.final()]).toString('utf8');
    },
    fingerprint: createHash('sha256').update(derive('fingerprint')).digest('hex').slice(0, 16),
    pepper: derive('pepper'),
  };
}

/** Where a job's environment belongs, for the sealer. */
export function envPlace(jobId: string): string {
  return `job:${jobId}:env`;
}
