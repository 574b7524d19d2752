/** A primary and its replica, without Sentinels: nobody takes over, and the replica can be stopped and let go on. */
import { mkdir, mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { freePort, redisServer } from './redis.ts';
import { type RedisProcess, startRedisProcess, withClient } from './redis-process.ts';
import { until } from './until.ts';

export interface ReplicatedRedis {
  /** The primary's. */
  readonly url: string;
  readonly primary: RedisProcess;
  readonly replica: RedisProcess;
  /** Waits until the replica has everything. */
  linked(): Promise<void>;
  stop(): Promise<void>;
}

export async function startReplicatedRedis(): Promise<ReplicatedRedis> {
  const dir = await mkdtemp(join(tmpdir(), 'sluice-test-replicated-'));
  const ports = [await freePort(), await freePort()] as const;

  async function start(port: number, ...more: string[]): Promise<RedisProcess> {
    const own = join(dir, `${port}`);
    await mkdir(own);
    const place = [
      '--port',
      `${port}`,
      '--bind',
      '127.0.0.1',
      '--dir',
      own,
      '--repl-diskless-sync-delay',
      '0',
    ];
    return startRedisProcess([...redisServer(), ...place, ...more], { host: '127.0.0.1', port });
  }

  const primary = await start(ports[0]);
  const replica = await start(ports[1], '--replicaof', '127.0.0.1', `${ports[0]}`);
  const linked = () =>
    withClient(primary.reach, async (client) => {
      // WAIT covers what its connection wrote.
      const isThere = async () => {
        await client.set('linked', '');
        return Number(await client.wait(1, 100)) === 1;
      };
      await until(isThere, { what: 'the replica to have everything' });
    });
  await linked();
  return {
    url: `redis://127.0.0.1:${ports[0]}`,
    primary,
    replica,
    linked,
    async stop() {
      await Promise.all([primary.kill(), replica.kill()]);
      await rm(dir, { recursive: true, force: true });
    },
  };
}
