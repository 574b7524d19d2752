/**
 * Whether this process may be sent requests: Redis answers, takes writes, keeps what it is told, drops nothing, and has
 * room. Asked by load balancers every second or so, from many sides: an answer is kept for a moment.
 */
import type { Needs } from '../../job/durability.ts';
import type { Redis } from '../redis.ts';
import { inspectRedis } from './fitness.ts';

export interface Unready {
  what: string;
  remedy: string;
}

const KEPT_MS = 1_000;

/** @returns what is wrong; nothing if it is ready */
export function createReadiness({ redis, needs }: { redis: Redis; needs: Needs }): () => Promise<Unready[]> {
  let answer: Promise<Unready[]> | null = null;
  let askedAt = 0;
  return () => {
    if (!answer || Date.now() - askedAt > KEPT_MS) {
      askedAt = Date.now();
      answer = inspect(redis, needs);
    }
    return answer;
  };
}

async function inspect(redis: Redis, needs: Needs): Promise<Unready[]> {
  try {
    const found = await inspectRedis(redis, needs);
    return found.filter(({ ready }) => !ready).map(({ what, remedy }) => ({ what, remedy }));
  } catch (error) {
    const reason = error instanceof Error ? error.message : String(error);
    return [{ what: `Redis does not answer (${reason})`, remedy: 'start Redis, and check REDIS_URL' }];
  }
}
