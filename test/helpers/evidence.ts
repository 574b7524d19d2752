/** What a failed test leaves for whoever looks into it: logs and the state of Redis, in a directory that stays. */
import { mkdtemp, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Redis } from 'ioredis';

/**
 * @param logs by the names of their files
 * @param skip keys that say nothing here
 * @returns the directory
 */
export async function keepEvidence(
  name: string,
  { logs, redisUrl, skip }: { logs: Map<string, readonly string[]>; redisUrl: string; skip: RegExp },
): Promise<string> {
  const dir = await mkdtemp(join(tmpdir(), `${name}-`));
  for (const [file, lines] of logs) await writeFile(join(dir, `${file}.log`), `${lines.join('\n')}\n`);
  const redis = new Redis(redisUrl);
  const keys = (await redis.keys('*')).filter((key) => !skip.test(key)).sort();
  const dumped = await Promise.all(
    keys.map(async (key) => `${key} ${JSON.stringify(await read(redis, key))}`),
  );
  redis.disconnect();
  await writeFile(join(dir, 'redis.txt'), `${dumped.join('\n')}\n`);
  return dir;
}

async function read(redis: Redis, key: string): Promise<unknown> {
  const type = await redis.type(key);
  if (type === 'string') return redis.get(key);
  if (type === 'hash') return redis.hgetall(key);
  if (type === 'list') return redis.lrange(key, 0, 99);
  if (type === 'set') return redis.smembers(key);
  if (type === 'zset') return redis.call('ZRANGE', key, 0, 99, 'WITHSCORES');
  return type;
}
