/**
 * Whether a Redis is fit to hold the records: new enough, keeps what it is told when it is killed, and never drops
 * a key to make room. All of it is read from INFO, which managed services leave open where CONFIG is closed.
 */
import type { Redis } from './redis.ts';

export interface Unfitness {
  what: string;
  remedy: string;
  /** True: it cannot work at all. False: it works until something goes wrong. */
  fatal: boolean;
}

const OLDEST = [7, 0] as const;

/** @returns what is wrong with it; nothing if it is fit */
export async function inspectRedis(redis: Redis): Promise<Unfitness[]> {
  const info = parse(await redis.info());
  const found: Unfitness[] = [];
  const version = info.get('redis_version') ?? '0';
  if (isOlder(version)) {
    found.push({
      what: `Redis is ${version}`,
      remedy: `use ${OLDEST.join('.')} or later, or Valkey`,
      fatal: true,
    });
  }
  const policy = info.get('maxmemory_policy');
  if (policy !== undefined && policy !== 'noeviction') {
    found.push({
      what: `Redis drops keys when its memory is full (maxmemory-policy ${policy}), jobs among them`,
      remedy: 'set maxmemory-policy noeviction',
      fatal: false,
    });
  }
  if (info.get('aof_enabled') === '0') {
    found.push({
      what: 'Redis forgets acknowledged jobs when it is killed (appendonly no)',
      remedy: 'set appendonly yes and appendfsync everysec',
      fatal: false,
    });
  }
  if (info.get('aof_last_write_status') === 'err') {
    found.push({
      what: 'Redis cannot write its append-only file',
      remedy: 'see its log; is its disk full?',
      fatal: false,
    });
  }
  return found;
}

/** @param info `INFO memory` @returns the used part of `maxmemory`; 0 where there is no limit */
export function memoryUse(info: string): number {
  const found = parse(info);
  const limit = Number(found.get('maxmemory') ?? 0);
  return limit === 0 ? 0 : Number(found.get('used_memory') ?? 0) / limit;
}

function parse(info: string): Map<string, string> {
  const lines = info.split('\r\n').filter((line) => line.includes(':'));
  return new Map(lines.map((line) => [line.slice(0, line.indexOf(':')), line.slice(line.indexOf(':') + 1)]));
}

function isOlder(version: string): boolean {
  const [major = 0, minor = 0] = version.split('.').map(Number);
  return major < OLDEST[0] || (major === OLDEST[0] && minor < OLDEST[1]);
}
