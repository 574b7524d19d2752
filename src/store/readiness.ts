/**
 * Whether this process may be sent requests: Redis answers, keeps what it is told, drops nothing, and has room.
 * Asked by load balancers every second or so, from many sides: an answer is kept for a moment.
 */
import { inspectRedis, memoryUse } from './fitness.ts';
import type { Redis } from './redis.ts';

export interface Unready {
  what: string;
  remedy: string;
}

const KEPT_MS = 1_000;
const FULL = 0.95;

/** @returns what is wrong; nothing if it is ready */
export function createReadiness({ redis }: { redis: Redis }): () => Promise<Unready[]> {
  let answer: Promise<Unready[]> | null = null;
  let askedAt = 0;
  return () => {
    if (!answer || Date.now() - askedAt > KEPT_MS) {
      askedAt = Date.now();
      answer = inspect(redis);
    }
    return answer;
  };
}

async function inspect(redis: Redis): Promise<Unready[]> {
  try {
    const unfit = await inspectRedis(redis);
    const full = memoryUse(await redis.info('memory')) >= FULL;
    return [
      ...unfit.map(({ what, remedy }) => ({ what, remedy })),
      ...(full
        ? [{ what: "Redis' memory is nearly full: writes will fail", remedy: 'raise maxmemory' }]
        : []),
    ];
  } catch (error) {
    const reason = error instanceof Error ? error.message : String(error);
    return [{ what: `Redis does not answer (${reason})`, remedy: 'start Redis, and check REDIS_URL' }];
  }
}
