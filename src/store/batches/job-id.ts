/**
 * The ids of a batch's jobs: they follow from the batch and the host, so that whoever makes one makes the same. Each is
 * a ULID of the batch's time, and of a digest in place of randomness.
 */
import { createHash } from 'node:crypto';

/** Crockford's base 32, as ULIDs are written in. */
const DIGITS = '0123456789ABCDEFGHJKMNPQRSTVWXYZ';
const TIME_LENGTH = 10;
const RANDOM_LENGTH = 16;

export function batchJobId(batchId: string, host: string): string {
  const digest = createHash('sha256').update(`${batchId}\n${host}`).digest();
  let text = '';
  for (let i = 0; i < RANDOM_LENGTH; i++) text += DIGITS[(digest[i] as number) & 31];
  return `job_${batchId.slice('batch_'.length, 'batch_'.length + TIME_LENGTH)}${text}`;
}
