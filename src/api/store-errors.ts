/**
 * What an error of the store means for a caller. The difference that matters is whether a write may have been
 * done: only `store_unavailable` says that it was not.
 */
import { SluiceError } from '../job/errors.ts';

/** ioredis: refused before anything was sent. */
const NOT_SENT = /enableOfflineQueue|ECONNREFUSED|ENOENT|ENOTFOUND|EAI_AGAIN/;
/** Redis refused the command as a whole. */
const REFUSED =
  /^(OOM|LOADING|READONLY|MISCONF|MASTERDOWN|CLUSTERDOWN|NOREPLICAS|NOAUTH|WRONGPASS|NOPERM|BUSY)\b/;
/** Sent, and no reply came. */
const NO_REPLY =
  /Command timed out|max retries per request|Connection is closed|ECONNRESET|EPIPE|ETIMEDOUT|Socket closed/;

/** @returns null if the error is not the store's being away */
export function storeProblem(error: unknown, writes: boolean): SluiceError | null {
  if (!(error instanceof Error) || error instanceof SluiceError) return null;
  const { message } = error;
  const options = { fields: { retry_after: 2 }, cause: error };
  const notReached = NOT_SENT.test(message) || REFUSED.test(message);
  if (notReached || (!writes && NO_REPLY.test(message))) {
    return new SluiceError('store_unavailable', 'the store does not answer; nothing was done', options);
  }
  if (!NO_REPLY.test(message)) return null;
  const detail = 'the store did not confirm; repeat the request with the same Idempotency-Key';
  return new SluiceError('not_acknowledged', detail, options);
}
