/**
 * A real Redis for one test file: `const redis = await startRedis()` … `await redis.stop()`.
 *
 * By default the machine's own `redis-server`, with AOF, in a directory of its own: it is up in a few
 * milliseconds, and can be killed and started again on the same data. With SLUICE_TEST_REDIS=container it runs in
 * a container instead (Testcontainers; the image is TESTCONTAINERS_REDIS_IMAGE), so that the same tests hold for
 * the Redis that people deploy.
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, rm } from 'node:fs/promises';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Redis } from 'ioredis';
import { until } from './until.ts';

export interface RedisOptions {
  /** Default true: every write is in the append-only file, synced once a second. */
  appendonly?: boolean;
  /** As Redis writes it, such as `64mb`; writes beyond it fail (`noeviction`). */
  maxmemory?: string;
  /** A loopback port; default any free one. */
  port?: number;
}

export interface TestRedis {
  /** `redis://127.0.0.1:<port>`; the same after a restart. */
  readonly url: string;
  /** Where its data is; empty in a container. */
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
  if (process.env.SLUICE_TEST_REDIS !== 'container') return startLocally(options);
  const { startRedisContainer } = await import('./redis-container.ts');
  return startRedisContainer(options.port ?? (await freePort()), redisServer(options));
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

async function startLocally(options: RedisOptions): Promise<TestRedis> {
  const dir = await mkdtemp(join(tmpdir(), 'sluice-test-redis-'));
  const port = options.port ?? (await freePort());
  const url = `redis://127.0.0.1:${port}`;
  const command = [...redisServer(options), '--port', `${port}`, '--bind', '127.0.0.1', '--dir', dir];
  let server = await launch(command, url);
  return {
    url,
    dir,
    get pid() {
      return server.pid ?? 0;
    },
    kill: (signal = 'SIGKILL') => signalled(server, signal),
    async restart() {
      await signalled(server, 'SIGKILL');
      server = await launch(command, url);
    },
    async stop() {
      await signalled(server, 'SIGKILL');
      await rm(dir, { recursive: true, force: true });
    },
  };
}

function redisServer({ appendonly = true, maxmemory }: RedisOptions): string[] {
  const memory = maxmemory ? ['--maxmemory', maxmemory, '--maxmemory-policy', 'noeviction'] : [];
  const durable = ['--appendonly', appendonly ? 'yes' : 'no', '--appendfsync', 'everysec'];
  return ['redis-server', '--save', '', ...durable, ...memory];
}

async function launch([program = '', ...args]: string[], url: string): Promise<ChildProcess> {
  const server = spawn(program, args, { stdio: ['ignore', 'pipe', 'pipe'] });
  let log = '';
  const keep = (chunk: Buffer) => {
    log = (log + chunk).slice(-4_000);
  };
  server.stdout.on('data', keep);
  server.stderr.on('data', keep);
  const failed = new Promise<never>((_, reject) => {
    server.once('error', reject);
    server.once('exit', (code) => reject(new Error(`redis-server ended with ${code}\n${log}`)));
  });
  failed.catch(() => {});
  await Promise.race([failed, answers(url)]);
  return server;
}

/** Answers and has read its data: while it loads, PING is refused with LOADING. */
export async function answers(url: string): Promise<void> {
  const probe = new Redis(url, { retryStrategy: () => 10, maxRetriesPerRequest: null });
  probe.on('error', () => {});
  try {
    await until(async () => (await probe.ping()) === 'PONG', { what: `redis-server at ${url}` });
  } finally {
    probe.disconnect();
  }
}

async function signalled(server: ChildProcess, signal: NodeJS.Signals): Promise<void> {
  if (server.exitCode !== null || server.signalCode !== null) return;
  server.kill(signal);
  if (signal !== 'SIGSTOP' && signal !== 'SIGCONT') await once(server, 'exit');
}
