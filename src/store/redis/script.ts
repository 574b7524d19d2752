/**
 * Lua scripts, each defined once beside its only caller and sent by its digest from the second call on. All of them
 * can ask `clock()` for Redis' time in ms: what expires goes by no other clock, whoever runs the script.
 */
import { createHash } from 'node:crypto';
import type { Redis } from '../redis.ts';

export type Script = (redis: Redis, keys: string[], args: (string | number | Buffer)[]) => Promise<unknown>;

const CLOCK_LUA = `
local function clock()
  local t = redis.call('TIME')
  return t[1] * 1000 + math.floor(t[2] / 1000)
end
`;

/** @param body the text; its KEYS, ARGV and returns stand in a comment above it */
export function defineScript(body: string): Script {
  const lua = CLOCK_LUA + body;
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
