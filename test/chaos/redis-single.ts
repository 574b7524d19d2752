/** The Redis of the first world: one server that syncs every write before it answers, killed and frozen as it is. */
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import { Redis } from 'ioredis';
import { freePort, redisServer } from '../helpers/redis.ts';
import { startRedisProcess } from '../helpers/redis-process.ts';
import type { Fault } from './faults.ts';
import { type FaultyProxy, startProxy } from './proxy.ts';
import type { RigRedis } from './world.ts';

export async function startSingleRedis(): Promise<RigRedis> {
  const dir = await mkdtemp(join(tmpdir(), 'sluice-chaos-redis-'));
  const port = await freePort();
  const own = ['--appendfsync', 'always', '--port', `${port}`, '--bind', '127.0.0.1', '--dir', dir];
  const server = await startRedisProcess([...redisServer(), ...own], { host: '127.0.0.1', port });
  return {
    canForget: false,
    targets: new Map([['redis', ['redis']]]),
    async wayOf(name) {
      const proxy: FaultyProxy = await startProxy(`${name} > redis`, `127.0.0.1:${port}`);
      return { url: `redis://${proxy.address}`, proxy };
    },
    async connect() {
      const client = new Redis({
        host: '127.0.0.1',
        port,
        retryStrategy: () => 100,
        maxRetriesPerRequest: 0,
      });
      return client.on('error', () => undefined);
    },
    async strike({ kind, lastsMs }: Fault) {
      await server.kill(kind === 'freeze' ? 'SIGSTOP' : 'SIGKILL');
      await pause(lastsMs);
      if (kind === 'freeze') await server.kill('SIGCONT');
      else await server.restart();
    },
    async mend() {},
    async stop() {
      await server.kill();
      await rm(dir, { recursive: true, force: true });
    },
  };
}
