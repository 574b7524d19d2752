/**
 * What an error of the Redis client says of the command that failed. The difference that matters is whether it may
 * have been done. An error that is none of these is a mistake of ours, not the store's being away.
 */

/** `not_sent`: Redis could not be reached. `refused`: it took no part of it. `no_reply`: it may have been done. */
export type Trouble = 'not_sent' | 'refused' | 'no_reply';

/** ioredis: refused before anything was sent; and how a connection fails. */
const NOT_SENT = /enableOfflineQueue|ECONNREFUSED|ENOENT|ENOTFOUND|EAI_AGAIN|All sentinels are unreachable/;
/** A script that Redis refuses has done nothing either: it is stopped at its first write, or not at all. */
const REFUSED =
  /^(OOM|LOADING|READONLY|MISCONF|MASTERDOWN|CLUSTERDOWN|NOREPLICAS|UNBLOCKED|EXECABORT|NOAUTH|WRONGPASS|NOPERM|BUSY)\b/;
const NO_REPLY =
  /Command timed out|Command aborted|max retries per request|Connection is closed|ECONNRESET|EPIPE|ETIMEDOUT|Socket (closed|timeout)/;

/** @param message of the error */
export function troubleOf(message: string): Trouble | null {
  if (NOT_SENT.test(message)) return 'not_sent';
  if (REFUSED.test(message)) return 'refused';
  return NO_REPLY.test(message) ? 'no_reply' : null;
}
