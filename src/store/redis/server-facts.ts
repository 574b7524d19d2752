/**
 * What a Redis server says of itself: INFO, and of its CONFIG what bears on whether writes are taken and kept. Knows
 * the forms, not what any of it means for a gateway.
 */
import type { Redis } from '../redis.ts';

export interface ServerFacts {
  info: Info;
  /** Null where CONFIG is closed, as in most managed services. */
  settings: Map<string, string> | null;
}

export type Info = ReadonlyMap<string, string>;

const SETTINGS = ['appendfsync', 'save', 'stop-writes-on-bgsave-error', 'min-replicas-to-write'];
/** A replica that has said nothing for longer holds nothing that can be counted on, in seconds. */
const LAG_SECONDS = 10;

export async function readFacts(redis: Redis): Promise<ServerFacts> {
  const [info, settings] = await Promise.all([redis.info(), readSettings(redis)]);
  return { info: parseInfo(info), settings };
}

export function parseInfo(info: string): Info {
  const lines = info.split('\r\n').filter((line) => line.includes(':'));
  return new Map(lines.map((line) => [line.slice(0, line.indexOf(':')), line.slice(line.indexOf(':') + 1)]));
}

/** @returns the used part of `maxmemory`; 0 where there is no limit */
export function usedPart(info: Info): number {
  const limit = Number(info.get('maxmemory') ?? 0);
  return limit === 0 ? 0 : Number(info.get('used_memory') ?? 0) / limit;
}

/** How many have all data and were heard of lately: `slave0:ip=...,port=...,state=online,offset=...,lag=0`. */
export function connectedReplicas(info: Info): number {
  const lines = [...info].filter(([name]) => /^slave\d+$/.test(name)).map(([, line]) => line);
  const isGood = (line: string) =>
    line.includes('state=online') && Number(/lag=(-?\d+)/.exec(line)?.[1] ?? 0) <= LAG_SECONDS;
  return lines.filter(isGood).length;
}

async function readSettings(redis: Redis): Promise<ServerFacts['settings']> {
  try {
    const flat = (await redis.call('CONFIG', 'GET', ...SETTINGS)) as string[];
    const found = new Map<string, string>();
    for (let i = 0; i + 1 < flat.length; i += 2) found.set(flat[i] as string, flat[i + 1] as string);
    return found;
  } catch (error) {
    // Not allowed, or taken away.
    if (error instanceof Error && /^(NOPERM|ERR unknown)/.test(error.message)) return null;
    throw error;
  }
}
