/** Asks until there is an answer: a gateway that restarts, or whose store fails over, costs a pause. */
import { setTimeout as pause } from 'node:timers/promises';
import type { Client } from '../client.ts';
import { Failure } from '../failure.ts';
import { isAway } from './away.ts';

const PAUSE_MS = 1_000;
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

/** Nobody listens there: most likely the address is wrong. */
function wasNeverSent(error: unknown): boolean {
  return /\((ECONNREFUSED|ENOTFOUND|EAI_AGAIN)\)/.test((error as Error).message);
}
