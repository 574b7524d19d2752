/**
 * Whether this process may be sent requests: Redis answers, keeps what it is told, drops nothing, and has room.
 * Asked by load balancers every second or so, from many sides: an answer is kept for a moment.
 */
import { inspectRedis } from '../store/fitness.ts';
import type { Redis } from '../store/redis.ts';

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

/** The used part of `maxmemory`; 0 where there is no limit. */
function memoryUse(info: string): number {
  const number = (name: string) => Number(new RegExp(`^${name}:(\\d+)`, 'm').exec(info)?.[1] ?? 0);
  const limit = number('maxmemory');
  return limit === 0 ? 0 : number('used_memory') / limit;
}
