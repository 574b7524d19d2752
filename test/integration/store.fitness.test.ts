/** What `/readyz` and `sluice check` find wrong with a Redis: each fault made on a real one, named, and mended. */
import { once } from 'node:events';
import { mkdtemp, rm } from 'node:fs/promises';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { parseRedisUrl } from '../../src/config/redis-url.ts';
import type { Needs } from '../../src/job/durability.ts';
import { createKeys } from '../../src/store/keys.ts';
import { inspectRedis } from '../../src/store/redis/fitness.ts';
import { createReadiness } from '../../src/store/redis/readiness.ts';
import { connectForRequests, type Redis } from '../../src/store/redis.ts';
import { claimSecretKey } from '../../src/store/sealing/secret-fingerprint.ts';
import { canMount, createOwnDisk } from '../helpers/own-disk.ts';
import { freePort, redisServer } from '../helpers/redis.ts';
import { type RedisProcess, startRedisProcess } from '../helpers/redis-process.ts';
import { until } from '../helpers/until.ts';

const USUAL: Needs = { durability: 'everysec', ackReplicas: 0 };

const servers: RedisProcess[] = [];
const clients: Redis[] = [];
let dir: string;
let url: string;
let redis: Redis;

beforeAll(async () => {
  dir = await mkdtemp(join(tmpdir(), 'sluice-fitness-'));
  url = await startServer(dir);
  redis = await connect(url);
});
afterAll(async () => {
  for (const client of clients) client.disconnect();
  for (const server of servers) await server.kill('SIGKILL');
  await rm(dir, { recursive: true, force: true });
});

async function startServer(ownDir: string, ...more: string[]): Promise<string> {
  const port = await freePort();
  const place = ['--port', `${port}`, '--bind', '127.0.0.1', '--dir', ownDir];
  servers.push(await startRedisProcess([...redisServer(), ...place, ...more], { host: '127.0.0.1', port }));
  return `redis://127.0.0.1:${port}`;
}

async function connect(to: string): Promise<Redis> {
  const client = connectForRequests(parseRedisUrl(to), 'test');
  client.on('error', () => undefined);
  await client.connect();
  clients.push(client);
  return client;
}

/** As `readyz` tells it. */
const wrong = async (needs: Partial<Needs> = {}, client = redis) =>
  (await inspectRedis(client, { ...USUAL, ...needs })).map(({ what, remedy }) => `${what}; ${remedy}`);

it('nothing is wrong with a Redis as the documents want it', async () => {
  expect(await wrong()).toEqual([]);
});

it.each([
  ['appendonly', 'no', 'yes', /killed \(appendonly no\); set appendonly yes/],
  ['maxmemory-policy', 'volatile-lru', 'noeviction', /drops keys .*volatile-lru.*; set .*noeviction/],
  ['maxmemory', '1mb', '0', /memory is used to \d+ % of maxmemory: writes are refused; raise maxmemory/],
  ['appendfsync', 'no', 'everysec', /appendfsync no\); set appendfsync everysec$/],
])('with %s %s it says so, and what to do', async (setting, bad, good, text) => {
  await redis.config('SET', setting, bad);
  try {
    expect(await wrong()).toEqual([expect.stringMatching(text)]);
  } finally {
    await redis.config('SET', setting, good);
  }
  await until(async () => (await wrong()).length === 0);
});

it('a process of a gateway that is known may start while Redis is full', async () => {
  const keys = createKeys('{sluice}');
  expect(await claimSecretKey(redis, keys, 'print')).toBe(true);
  await redis.config('SET', 'maxmemory', '1mb');
  expect(await claimSecretKey(redis, keys, 'print')).toBe(true);
  expect(await claimSecretKey(redis, keys, 'another')).toBe(false);
  await redis.config('SET', 'maxmemory', '0');
});

it('a memory that is nearly full is told before writes are refused', async () => {
  const used = Number(/used_memory:(\d+)/.exec(await redis.info('memory'))?.[1]);
  await redis.config('SET', 'maxmemory', `${Math.round(used * 1.03)}`);
  expect(await wrong()).toEqual([expect.stringMatching(/9\d % of maxmemory: writes will soon be refused/)]);
  await redis.config('SET', 'maxmemory', '0');
});

it('SLUICE_DURABILITY=always wants every write synced, and everysec is content with more', async () => {
  const text = /SLUICE_DURABILITY=always asks for \(appendfsync everysec\); set appendfsync always, or/;
  expect(await wrong({ durability: 'always' })).toEqual([expect.stringMatching(text)]);
  await redis.config('SET', 'appendfsync', 'always');
  expect(await wrong({ durability: 'always' })).toEqual([]);
  expect(await wrong()).toEqual([]);
  await redis.config('SET', 'appendfsync', 'everysec');
});

it('where CONFIG is closed the rest is judged, and always cannot be promised', async () => {
  await redis.call('ACL', 'SETUSER', 'modest', 'on', '>secret', '~*', '&*', '+@all', '-config');
  const modest = await connect(url.replace('//', '//modest:secret@'));
  expect(await wrong({}, modest)).toEqual([]);
  expect(await wrong({ durability: 'always' }, modest)).toEqual([
    expect.stringMatching(/does not tell whether it syncs every write.*\+config\|get/),
  ]);
});

it('a replica takes no writes, and one that is promoted does', async () => {
  const nobody = createServer().listen(0, '127.0.0.1');
  await once(nobody, 'listening');
  const { port } = nobody.address() as { port: number };
  await redis.call('REPLICAOF', '127.0.0.1', `${port}`);
  try {
    expect(await wrong()).toEqual([
      expect.stringMatching(new RegExp(`a replica of 127.0.0.1:${port} and takes no writes; set REDIS_URL`)),
    ]);
    // A connection of its own: ours are made to leave who says this.
    await expect((await connect(url)).set('key', 'value')).rejects.toThrow('READONLY');
  } finally {
    await redis.call('REPLICAOF', 'NO', 'ONE');
    nobody.close();
  }
  expect(await wrong()).toEqual([]);
});

it('fewer replicas than writes or acknowledgements need are told, until they are there', async () => {
  await redis.config('SET', 'min-replicas-to-write', '1');
  const text = /0 of the 1 replicas/;
  expect(await wrong({ ackReplicas: 1 })).toEqual([
    expect.stringMatching(text),
    expect.stringMatching(/SLUICE_ACK_REPLICAS asks for: nothing can be acknowledged/),
  ]);
  const replicaDir = await mkdtemp(join(dir, 'replica-'));
  const primary = new URL(url);
  await startServer(
    replicaDir,
    '--replicaof',
    primary.hostname,
    primary.port,
    '--repl-diskless-sync-delay',
    '0',
  );
  await until(async () => (await wrong({ ackReplicas: 1 })).length === 0);
  expect(await wrong({ ackReplicas: 2 })).toEqual([expect.stringMatching(/1 of the 2 replicas/)]);
  await servers.at(-1)?.kill();
  await until(async () => (await wrong({ ackReplicas: 1 })).length === 2);
  await redis.config('SET', 'min-replicas-to-write', '0');
});

it.skipIf(!canMount())(
  'a disk that is full is told while writes fail, and no longer once there is room',
  async () => {
    const disk = createOwnDisk({ megabytes: 8 });
    try {
      const full = await connect(await startServer(disk.path));
      await full.set('key', 'value');
      disk.fill();
      await until(async () => {
        await full.set('key', 'x'.repeat(10_000)).catch(() => undefined);
        return (await wrong({}, full)).some((text) =>
          /append-only file \(aof_last_write_status:err\)/.test(text),
        );
      });
      await expect(full.set('key', 'value')).rejects.toThrow('MISCONF');
      expect(await createReadiness({ redis: full, needs: USUAL })()).not.toEqual([]);
      await full.bgrewriteaof().catch(() => undefined);
      await until(async () => (await wrong({}, full)).some((text) => text.includes('BGREWRITEAOF')));
      disk.free();
      await until(async () => (await full.set('key', 'value').catch(() => null)) === 'OK');
      // Writes go through again: that a rewrite failed is told, and takes no gateway out of service.
      expect(await wrong({}, full)).toEqual([expect.stringContaining('BGREWRITEAOF')]);
      expect(await createReadiness({ redis: full, needs: USUAL })()).toEqual([]);
      await full.bgrewriteaof();
      await until(async () => (await wrong({}, full)).length === 0);
    } finally {
      await servers.pop()?.kill();
      disk.remove();
    }
  },
);

it.skipIf(!canMount())(
  'a snapshot that fails is told only where it keeps writes from being taken',
  async () => {
    const disk = createOwnDisk({ megabytes: 8 });
    try {
      const snapshots = await connect(await startServer(disk.path, '--appendonly', 'no', '--save', '3600 1'));
      await snapshots.config('SET', 'appendonly', 'no');
      disk.fill();
      await snapshots.set('key', 'x'.repeat(100_000));
      await snapshots.bgsave();
      const isTold = async () =>
        (await wrong({}, snapshots)).some((text) => text.includes('save a snapshot'));
      await until(isTold);
      await expect(snapshots.set('key', 'value')).rejects.toThrow('MISCONF');
      await snapshots.config('SET', 'stop-writes-on-bgsave-error', 'no');
      expect(await isTold()).toBe(false);
      expect(await snapshots.set('key', 'value')).toBe('OK');
    } finally {
      await servers.pop()?.kill();
      disk.remove();
    }
  },
);
