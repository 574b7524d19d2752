/**
 * Redis' replies as values: what a pipeline answered, flat lists of names and values, and the clock that all times
 * in the records and all deadlines go by. Knows nothing of what is stored.
 */
import type { Redis } from './redis.ts';

/** What `HGETALL` answers. */
export type Hash = Record<string, string>;

/** A pipeline's replies; throws the first error among them. */
export async function results(pipeline: ReturnType<Redis['pipeline']>): Promise<unknown[]> {
  const replies = (await pipeline.exec()) ?? [];
  return replies.map(([error, value]) => {
    if (error) throw error;
    return value;
  });
}

/** Names and values in turn, as scripts and streams return a hash. */
export function pairs(flat: string[]): Hash {
  const hash: Hash = {};
  for (let i = 0; i + 1 < flat.length; i += 2) hash[flat[i] as string] = flat[i + 1] as string;
  return hash;
}

/** Redis' clock in ms. Scripts ask it by `clock()`. */
export async function clock(redis: Redis): Promise<number> {
  return milliseconds(await redis.time());
}

/** What `TIME` answers, in ms. */
export function milliseconds([seconds, micros]: readonly (string | number)[]): number {
  return Number(seconds) * 1000 + Math.floor(Number(micros) / 1000);
}
