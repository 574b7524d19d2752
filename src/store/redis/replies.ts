/**
 * Redis' replies as values: what a pipeline answered, flat lists of names and values, and the clock that all times
 * in the records and all deadlines go by. Knows nothing of what is stored.
 */
import type { Redis } from '../redis.ts';

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

/** How long Redis' clock is told from our own before it is asked again, in ms. */
const BELIEVED_MS = 1_000;

/**
 * Redis' clock for those who ask it all the time: asked once a second, and carried on by this process' monotonic
 * clock in between, so that a moment costs no round trip. Scripts still ask Redis itself.
 */
export function createClock(redis: Redis): () => Promise<number> {
  let seen = { at: Number.NEGATIVE_INFINITY, offset: 0 };
  let asking: Promise<void> | null = null;

  async function ask(): Promise<void> {
    const before = performance.now();
    const time = await clock(redis);
    const at = performance.now();
    seen = { at, offset: time - (before + at) / 2 };
  }

  return async () => {
    if (performance.now() - seen.at > BELIEVED_MS) {
      asking ??= ask().finally(() => {
        asking = null;
      });
      await asking;
    }
    return Math.floor(performance.now() + seen.offset);
  };
}

/** What `TIME` answers, in ms. */
function milliseconds([seconds, micros]: readonly (string | number)[]): number {
  return Number(seconds) * 1000 + Math.floor(Number(micros) / 1000);
}
