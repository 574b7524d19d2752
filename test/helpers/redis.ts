/**
 * A real Redis for one test file: `const redis = await startRedis()` … `await redis.stop()`.
 *
 * By default the machine's own `redis-server`, with AOF, in a directory of its own: it is up in a few
 * milliseconds, and can be killed and started again on the same data. SLUICE_TEST_REDIS runs the same tests on
 * another one, so that they hold for the Redis that people deploy:
 *
 *     container   in a container (Testcontainers; the image is TESTCONTAINERS_REDIS_IMAGE)
 *     sentinel    a primary and a replica behind a Sentinel
 *     shared      with another gateway at work on it
 */
import { once } from 'node:events';
import { mkdtemp, rm } from 'node:fs/promises';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { startRedisProcess } from './redis-process.ts';

export interface RedisOptions {
  /** Default true: every write is in the append-only file, synced once a second. */
  appendonly?: boolean;
  /** As Redis writes it, such as `64mb`; writes beyond it fail (`noeviction`). */
  maxmemory?: string;
  /** A loopback port; default any free one. */
  port?: number;
}

export interface TestRedis {
  /** Such as `redis://127.0.0.1:<port>`; the same after a restart. */
  readonly url: string;
  /** Where its data is; empty in a container and behind a Sentinel. */
  readonly dir: string;
  /** Process id; 0 in a container. */
  readonly pid: number;
  /** Sends a signal (default SIGKILL) and, unless it is SIGSTOP or SIGCONT, waits for the end. */
  kill(signal?: NodeJS.Signals): Promise<void>;
  /** Starts it again on the same data; kills it first if it still runs. */
  restart(): Promise<void>;
  /** Ends it and removes its data. */
  stop(): Promise<void>;
}

export async function startRedis(options: RedisOptions = {}): Promise<TestRedis> {
  if (process.env.SLUICE_TEST_REDIS === 'container') {
    const { startRedisContainer } = await import('./redis-container.ts');
    return startRedisContainer(options.port ?? (await freePort()), redisServer(options));
  }
  if (process.env.SLUICE_TEST_REDIS === 'sentinel') {
    const { startSentinelRedis } = await import('./redis-sentinel.ts');
    return startSentinelRedis({ server: redisServer(options) });
  }
  if (process.env.SLUICE_TEST_REDIS === 'shared') {
    const { shareRedis } = await import('./redis-shared.ts');
    return shareRedis(await startLocally(options));
  }
  return startLocally(options);
}

/** A loopback port that nothing listens on right now. */
export async function freePort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const address = server.address();
  server.close();
  await once(server, 'close');
  if (address === null || typeof address === 'string') throw new Error('no port');
  return address.port;
}

/** The command of a server as the documents want it, but for where it listens and keeps its data. */
export function redisServer({ appendonly = true, maxmemory }: RedisOptions = {}): string[] {
  const memory = maxmemory ? ['--maxmemory', maxmemory, '--maxmemory-policy', 'noeviction'] : [];
  const durable = ['--appendonly', appendonly ? 'yes' : 'no', '--appendfsync', 'everysec'];
  return ['redis-server', '--save', '', ...durable, ...memory];
}

async function startLocally(options: RedisOptions): Promise<TestRedis> {
  const dir = await mkdtemp(join(tmpdir(), 'sluice-test-redis-'));
  const port = options.port ?? (await freePort());
  const command = [...redisServer(options), '--port', `${port}`, '--bind', '127.0.0.1', '--dir', dir];
  const server = await startRedisProcess(command, { host: '127.0.0.1', port });
  return {
    url: `redis://127.0.0.1:${port}`,
    dir,
    get pid() {
      return server.pid;
    },
    kill: server.kill,
    restart: () => server.restart(),
    async stop() {
      await server.kill();
      await rm(dir, { recursive: true, force: true });
    },
  };
}
