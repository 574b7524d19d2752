/**
 * The Redis of `sluice up` where no REDIS_URL is given: one `redis-server` (or `valkey-server`) on a Unix socket that
 * only its owner can reach, without a TCP port, with every write in its append-only file.
 */
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import type { Logger } from 'pino';
import type { Durability } from '../../job/durability.ts';
import { connectOnce, type RedisAddress } from '../../store/redis.ts';
import { Failure } from '../failure.ts';
import { type Child, startChild } from './child.ts';
import type { DataDir } from './data-dir.ts';

export interface EmbeddedRedis {
  address: RedisAddress;
  child: Child;
}

export interface EmbeddedRedisDeps {
  data: DataDir;
  durability: Durability;
  env: Record<string, string | undefined>;
  log: Logger;
  signal: AbortSignal;
  onGivenUp: (error: Error) => void;
}

const SERVERS = ['redis-server', 'valkey-server'];
/** It first reads its whole data back. */
const READY_TIMEOUT_MS = 300_000;
const GRACE_MS = 60_000;

export async function startEmbeddedRedis({
  data,
  durability,
  env,
  log,
  signal,
  onGivenUp,
}: EmbeddedRedisDeps): Promise<EmbeddedRedis> {
  const command = SERVERS.map((server) => onPath(server, env.PATH)).find((path) => path !== undefined);
  if (!command) {
    throw new Failure(
      'needs a redis-server: run `apt-get install redis-server`, or set REDIS_URL to a Redis',
    );
  }
  const address = embeddedRedisAddress(data);
  const child = await startChild({
    name: 'redis',
    command,
    args: settings(data, durability),
    cwd: data.redisDir,
    env,
    pidFile: data.pidFile('redis'),
    ready: () => answers(address),
    readyTimeoutMs: READY_TIMEOUT_MS,
    graceMs: GRACE_MS,
    log,
    signal,
    onGivenUp,
  });
  return { address, child };
}

export function embeddedRedisAddress({ redisSocket: path }: DataDir): RedisAddress {
  return { shown: `unix://${path}`, path, db: 0 };
}

function settings(data: DataDir, durability: Durability): string[] {
  const socket = ['--port', '0', '--unixsocket', data.redisSocket, '--unixsocketperm', '700'];
  const durable = ['--appendonly', 'yes', '--appendfsync', durability, '--save', ''];
  // A queue entry is a small hash; kept in one piece it takes a quarter less memory.
  const memory = ['--maxmemory-policy', 'noeviction', '--hash-max-listpack-value', '1024'];
  return ['--dir', data.redisDir, '--daemonize', 'no', ...socket, ...durable, ...memory];
}

async function answers(address: RedisAddress): Promise<boolean> {
  const redis = connectOnce(address, 'up');
  redis.on('error', () => {});
  try {
    await redis.connect();
    return (await redis.ping()) === 'PONG';
  } finally {
    redis.disconnect();
  }
}

function onPath(program: string, path = '/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin') {
  const candidates = path.split(':').map((directory) => join(directory, program));
  return candidates.find((candidate) => existsSync(candidate));
}
