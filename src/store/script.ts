/** Lua scripts, each defined once beside its only caller and sent by its digest from the second call on. */
import { createHash } from 'node:crypto';
import type { Redis } from './redis.ts';

export type Script = (redis: Redis, keys: string[], args: (string | number | Buffer)[]) => Promise<unknown>;

/** @param lua the text; its KEYS, ARGV and returns stand in a comment at its head */
export function defineScript(lua: string): Script {
  const digest = createHash('sha1').update(lua).digest('hex');
  return async (redis, keys, args) => {
    try {
      return await redis.evalsha(digest, keys.length, ...keys, ...args);
    } catch (error) {
      if (!(error instanceof Error && error.message.startsWith('NOSCRIPT'))) throw error;
      return redis.eval(lua, keys.length, ...keys, ...args);
    }
  };
}
