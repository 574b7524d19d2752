/** Asks until there is an answer: a gateway that restarts, or whose store fails over, costs a pause. */
import { setTimeout as pause } from 'node:timers/promises';
import { type Client, REPLY_BROKE_OFF } from '../client.ts';
import { Failure } from '../failure.ts';
import { isAway } from './away.ts';

const PAUSE_MS = 1_000;
const BROKEN_OFF = ['ECONNRESET', 'EPIPE', 'UND_ERR_SOCKET', 'UND_ERR_HEADERS_TIMEOUT', REPLY_BROKE_OFF];
/** Most are back by then, in ms. */
const PATIENCE_MS = 60_000;

export interface Posted {
  body: unknown;
  /** Goes with every try: one whose reply was lost is answered with what the first one made. */
  idempotencyKey: string;
}

/** @throws Failure, at once where there is no gateway to begin with, or where it refuses */
export async function postUntilAnswered<T>(client: Client, path: string, posted: Posted): Promise<T> {
  const { body, idempotencyKey } = posted;
  const headers = { 'idempotency-key': `"${idempotencyKey}"` };
  try {
    return await untilAnswered(() => client.request<T>('POST', path, { body, headers }));
  } catch (error) {
    if (!isAway(error)) throw error;
    const after = `it may have been accepted all the same: with --idempotency-key ${idempotencyKey} the same command finds it`;
    throw wasNeverSent(error) ? error : new Failure(`${(error as Error).message}\n${after}`);
  }
}

/** @param ask what can be asked twice */
export async function untilAnswered<T>(ask: () => Promise<T>): Promise<T> {
  const giveUpAt = Date.now() + PATIENCE_MS;
  for (let isFirst = true; ; isFirst = false) {
    try {
      return await ask();
    } catch (error) {
      if (!isAway(error) || (isFirst && wasNeverSent(error)) || Date.now() >= giveUpAt) throw error;
      await pause(PAUSE_MS);
    }
  }
}

/** The address is most likely wrong, but for what breaks off once it was reached. */
function wasNeverSent(error: unknown): boolean {
  const [, why] = /^no gateway answers at \S+ \(([^)]*)\)/.exec((error as Error).message) ?? [];
  return why !== undefined && !BROKEN_OFF.includes(why);
}
