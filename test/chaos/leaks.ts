/**
 * What must be gone once every job is over and told of: places, slots, questions, leases, deliveries, wake-ups in Redis;
 * and in the processes, memory and connections beyond what they began with.
 */
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { setTimeout as pause } from 'node:timers/promises';
import type { Redis } from 'ioredis';
import { createKeys } from '../../src/store/keys.ts';
import { QUEUE_NAMES } from '../../src/store/queues.ts';
import type { Breach } from './verdict.ts';
import type { World } from './world.ts';

/** What killed processes held comes back by its lease, and idle connections close after their time. */
const LIMIT_MS = 45_000;
const PREFIX = '{sluice}';
const keys = createKeys(PREFIX);

/** @param askedOn hosts that are asked about a `lost` job for days */
export async function findLeaks(world: World, askedOn: ReadonlySet<string>): Promise<Breach[]> {
  const redis = await world.redis.connect();
  try {
    const left = await whatIsLeft(() => leftIn(redis, world, askedOn));
    return left.map((what) => ({ promise: 'nothing leaked', what }));
  } finally {
    redis.disconnect();
  }
}

async function leftIn(redis: Redis, { hosts }: World, askedOn: ReadonlySet<string>): Promise<string[]> {
  const [seconds] = await redis.time();
  const now = Number(seconds) * 1_000;
  const left: string[] = [];
  const atMost = (most: number, what: string, count: number | string) => {
    if (Number(count) > most) left.push(`${Number(count) - most} in ${what}`);
  };
  const none = (what: string, count: number | string) => atMost(0, what, count);
  for (const { name } of hosts) {
    for (const key of [keys.mailbox, keys.ready, keys.activeJobs]) {
      none(key(name), await redis.zcard(key(name)));
    }
    if (!askedOn.has(name)) none(keys.followed(name), await redis.zcard(keys.followed(name)));
    none(keys.slots(name), await redis.zcount(keys.slots(name), now, '+inf'));
  }
  for (const key of [keys.armed, keys.deadlines, keys.deliveriesDue, keys.deliveriesDead]) {
    none(key, await redis.zcard(key));
  }
  const followed = (await redis.zrange(keys.hostsFollowed, '0', '-1')).filter((name) => !askedOn.has(name));
  none(`${keys.hostsFollowed} (${followed})`, followed.length);
  none(keys.outbox, await redis.llen(keys.outbox));
  none('leases of hosts', (await redis.keys(keys.lease('*:*').replace(/[{}]/g, '?'))).length);
  none('pending deliveries', (await redis.keys(keys.deliveriesPending('*').replace(/[{}]/g, '?'))).length);
  for (const queue of QUEUE_NAMES) {
    const of = (part: string) => `${keys.queuePrefix}:${queue}:${part}`;
    none(of('active'), await redis.llen(of('active')));
    none(of('wait'), await redis.llen(of('wait')));
    none(of('prioritized'), await redis.zcard(of('prioritized')));
    atMost(askedOn.size, of('repeat'), await redis.zcard(of('repeat')));
    none(of('failed'), await redis.zcard(of('failed')));
  }
  return left;
}

/** What one process uses. */
interface Use {
  name: string;
  /** Resident, in MB. */
  memoryMb: number;
  sockets: number;
}

/** Several times what an idle program moves by, and far below what a leak of some thousand jobs is. */
const MORE_MEMORY_MB = 150;
const MORE_SOCKETS = 25;

export interface Baseline {
  uses: Use[];
  clients: number;
}

export async function measure(world: World): Promise<Baseline> {
  const redis = await world.redis.connect();
  const list = String(await redis.client('LIST').catch(() => ''));
  redis.disconnect();
  const pids = [
    ...[...world.gateway.processes.values()].map(({ name, pid }) => ({ name, pid })),
    ...world.hosts.map((host) => ({ name: host.name, pid: host.pid() })),
  ];
  return { uses: pids.map(use), clients: [...list.matchAll(/ name=sluice/g)].length };
}

export async function compare(world: World, before: Baseline): Promise<Breach[]> {
  const grown = await whatIsLeft(async () => {
    const now = await measure(world);
    const more = now.uses.flatMap((one) => {
      const then = before.uses.find(({ name }) => name === one.name);
      if (!then) return [];
      const [memory, sockets] = [one.memoryMb - then.memoryMb, one.sockets - then.sockets];
      return memory > MORE_MEMORY_MB || sockets > MORE_SOCKETS
        ? [`${one.name} has ${memory} MB and ${sockets} sockets more than in the beginning`]
        : [];
    });
    return now.clients > before.clients
      ? [...more, `${now.clients - before.clients} more clients of Redis`]
      : more;
  });
  return grown.map((what) => ({ promise: 'memory and connections back', what }));
}

function use({ name, pid }: { name: string; pid: number }): Use {
  if (!existsSync(`/proc/${pid}/status`)) return { name, memoryMb: 0, sockets: 0 };
  const rss = /VmRSS:\s+(\d+) kB/.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1];
  return { name, memoryMb: Math.round(Number(rss) / 1_024), sockets: readdirSync(`/proc/${pid}/fd`).length };
}

/** Looks until nothing is left, or the time is over; then what is left is a leak. */
async function whatIsLeft(look: () => Promise<string[]>): Promise<string[]> {
  for (const end = Date.now() + LIMIT_MS; ; await pause(1_000)) {
    const left = await look().catch((error) => [String(error)]);
    if (left.length === 0 || Date.now() > end) return left;
  }
}
