/**
 * The Redis of the second world: a primary and a replica behind proxies, and three Sentinels that know them by their
 * proxies' addresses, so that everybody's way to a server leads through its proxy. A cut off primary is one that its
 * replica and the Sentinels have lost, with the gateway still on it: what it is told from then on nobody else knows.
 */
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import { Redis } from 'ioredis';
import { freePort, redisServer } from '../helpers/redis.ts';
import { type RedisProcess, startRedisProcess, withClient } from '../helpers/redis-process.ts';
import { until } from '../helpers/until.ts';
import type { Fault } from './faults.ts';
import { type FaultyProxy, startProxy } from './proxy.ts';
import type { RigRedis } from './world.ts';

const HOST = '127.0.0.1';
const NAME = 'main';
const SENTINELS = 3;
const PROMOTION_MS = 40_000;

interface Server {
  /** What everybody else calls it by. */
  port: number;
  proxy: FaultyProxy;
  process: RedisProcess;
}

export async function startSentinelSet(): Promise<RigRedis> {
  const dir = await mkdtemp(join(tmpdir(), 'sluice-chaos-sentinels-'));
  const servers: Server[] = [];
  const sentinels: RedisProcess[] = [];
  for (const i of [0, 1]) servers.push(await startServer(join(dir, `server-${i}`), servers[0]?.port));
  for (let i = 0; i < SENTINELS; i++) {
    sentinels.push(await startSentinel(dir, (servers[0] as Server).port));
  }

  const primary = async (): Promise<Server> => {
    const port = await primaryPort(sentinels[0] as RedisProcess);
    const found = servers.find((server) => server.port === port);
    if (!found) throw new Error(`the Sentinels name a primary that is none of ours: ${port}`);
    return found;
  };
  const replaced = (old: Server) =>
    until(async () => (await primary()) !== old, { timeoutMs: PROMOTION_MS, what: 'another primary' });

  async function isWhole(): Promise<boolean> {
    const { process } = await primary();
    const info = await withClient(process.reach, (client) => client.info('replication'));
    return /role:master/.test(info) && /state=online/.test(info);
  }
  async function mend(): Promise<void> {
    for (const { proxy, process } of servers) {
      proxy.mend();
      await process.kill('SIGCONT');
      if (!process.running) await process.restart();
    }
    await until(isWhole, { timeoutMs: PROMOTION_MS, everyMs: 200, what: 'a replica at the primary' });
  }
  await mend();

  return {
    canForget: true,
    targets: new Map([['primary', ['primary']]]),
    wayOf: async () => ({ url: urlOf(sentinels), proxy: null }),
    connect: async () => new Redis({ host: HOST, port: (await primary()).port }).on('error', () => undefined),
    async strike({ kind, lastsMs }: Fault) {
      const old = await primary();
      if (kind === 'kill') {
        await old.process.kill('SIGKILL');
        await replaced(old).catch(() => undefined);
        // As it was started: the Sentinels make a replica of it.
        await old.process.restart();
        return;
      }
      if (kind === 'freeze') await old.process.kill('SIGSTOP');
      else old.proxy.stallThose((said) => /replconf|psync|sentinel/i.test(said));
      await pause(lastsMs);
      if (kind === 'freeze') await old.process.kill('SIGCONT');
      else old.proxy.mend();
    },
    mend,
    async stop() {
      await Promise.all([...sentinels, ...servers.map(({ process }) => process)].map((one) => one.kill()));
      for (const { proxy } of servers) await proxy.stop();
      await rm(dir, { recursive: true, force: true });
    },
  };
}

async function startServer(dir: string, primary: number | undefined): Promise<Server> {
  await mkdir(dir);
  const own = await freePort();
  const proxy = await startProxy(`redis at ${own}`, `${HOST}:${own}`);
  const port = Number(proxy.address.split(':')[1]);
  const command = [
    ...redisServer(),
    ...['--port', `${own}`, '--bind', HOST, '--dir', dir, '--repl-diskless-sync-delay', '0'],
    ...['--replica-announce-ip', HOST, '--replica-announce-port', `${port}`],
    ...(primary === undefined ? [] : ['--replicaof', HOST, `${primary}`]),
  ];
  return { port, proxy, process: await startRedisProcess(command, { host: HOST, port: own }) };
}

async function startSentinel(dir: string, primary: number): Promise<RedisProcess> {
  const port = await freePort();
  const file = join(dir, `sentinel-${port}.conf`);
  const lines = [
    ...[`port ${port}`, `bind ${HOST}`, `dir ${dir}`],
    `sentinel monitor ${NAME} ${HOST} ${primary} 2`,
    `sentinel down-after-milliseconds ${NAME} 1500`,
    `sentinel failover-timeout ${NAME} 4000`,
  ];
  await writeFile(file, `${lines.join('\n')}\n`);
  return startRedisProcess(['redis-server', file, '--sentinel'], { host: HOST, port });
}

function primaryPort({ reach }: RedisProcess): Promise<number> {
  return withClient(reach, async (client) => {
    const [, port] = (await client.call('sentinel', 'get-master-addr-by-name', NAME)) as string[];
    return Number(port);
  });
}

function urlOf(sentinels: RedisProcess[]): string {
  return `redis+sentinel://${sentinels.map(({ reach }) => `${HOST}:${reach.port}`).join(',')}/${NAME}`;
}
