/**
 * A primary, a replica and Sentinels that watch them, all on loopback. Killing it kills the primary: the replica is
 * promoted, and `restart` brings the killed one back as a replica.
 *
 * What the replica had not got by then would be lost, as for everybody who replicates asynchronously, and a replica gets
 * nothing for up to a second after it was linked. So the primary is not killed before it is `replicated`: tests of what
 * outlives a Redis hold here too, and none of them may ask for more.
 */
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { freePort, redisServer, type TestRedis } from './redis.ts';
import { type Reach, type RedisProcess, startRedisProcess, withClient } from './redis-process.ts';
import { type TlsFiles, tlsSettings } from './redis-tls.ts';
import { until } from './until.ts';

const HOST = '127.0.0.1';
const NAME = 'main';
/** A promotion takes the time to notice, and an election. */
const PROMOTION_MS = 30_000;

export interface SentinelOptions {
  /** The servers' command but for where they listen and keep their data. */
  server?: string[];
  sentinels?: number;
  /** How long the primary must be silent. Short ones see a death in every pause of a busy machine. */
  downAfterMs?: number;
  /** Over TLS, between all of them. */
  tls?: TlsFiles;
  /** Of the servers, and of the Sentinels. */
  passwords?: { server: string; sentinel: string };
}

export interface SentinelRedis extends TestRedis {
  /** Waits until the replica has everything that the primary has answered. */
  replicated(): Promise<void>;
  /** The port that the Sentinels call the primary's. */
  primaryPort(): Promise<number>;
  /** Waits until they call another than this one so. */
  promoted(instead: number): Promise<void>;
  /** Asks a Sentinel to make the replica the primary. */
  failOver(): Promise<void>;
  /**
   * From now on the replica gets nothing from the primary, though everybody else reaches both. A replica without a link
   * for ten times as long as makes a primary dead is promoted by no Sentinel.
   */
  cutReplica(): Promise<void>;
  /** Lets every server that hangs go on. */
  resume(): Promise<void>;
  /** The names of the connections to the server at this port. */
  clientsAt(port: number): Promise<string[]>;
}

export async function startSentinelRedis(options: SentinelOptions = {}): Promise<SentinelRedis> {
  const { server = redisServer(), sentinels: count = 1, passwords } = options;
  const dir = await mkdtemp(join(tmpdir(), 'sluice-test-sentinel-'));
  const servers = new Map<number, RedisProcess>();
  const sentinels: RedisProcess[] = [];

  async function commandOf(port: number, primary?: number): Promise<string[]> {
    const own = join(dir, `${port}`);
    await mkdir(own, { recursive: true });
    const login = passwords ? ['--requirepass', passwords.server, '--masterauth', passwords.server] : [];
    const replicates = primary === undefined ? [] : ['--replicaof', HOST, `${primary}`];
    return [
      ...server,
      '--dir',
      own,
      ...listen(options, port),
      '--repl-diskless-sync-delay',
      '0',
      ...login,
      ...replicates,
    ];
  }
  const reach = (port: number, password?: string): Reach => ({
    ...{ host: HOST, port },
    ...(password !== undefined && { password }),
    ...(options.tls && { tls: options.tls.own }),
  });

  async function startServer(port: number, primary?: number): Promise<void> {
    servers.set(
      port,
      await startRedisProcess(await commandOf(port, primary), reach(port, passwords?.server)),
    );
  }
  async function startSentinel(primary: number): Promise<void> {
    const port = await freePort();
    const file = join(dir, `sentinel-${port}.conf`);
    await writeFile(
      file,
      sentinelFile({ ...options, dir, port, primary, quorum: Math.floor(count / 2) + 1 }),
    );
    sentinels.push(
      await startRedisProcess(['redis-server', file, '--sentinel'], reach(port, passwords?.sentinel)),
    );
  }

  const first = await freePort();
  await startServer(first);
  await startServer(await freePort(), first);
  for (let i = 0; i < count; i++) await startSentinel(first);

  const primaryPort = () =>
    withClient(sentinels[0]?.reach ?? {}, async (client) => {
      const [, port] = (await client.call('sentinel', 'get-master-addr-by-name', NAME)) as string[];
      return Number(port);
    });
  const current = async () => {
    const server = servers.get(await primaryPort());
    if (!server) throw new Error('the primary is none of ours');
    return server;
  };
  async function settled(): Promise<void> {
    for (const { reach } of sentinels) {
      await withClient(reach, (client) =>
        until(
          async () => {
            const primary = facts((await client.call('sentinel', 'master', NAME)) as string[]);
            const replicas = (await client.call('sentinel', 'replicas', NAME)) as string[][];
            const linked = replicas.filter((replica) => facts(replica)['master-link-status'] === 'ok');
            return linked.length === 1 && primary['num-other-sentinels'] === `${count - 1}`;
          },
          { timeoutMs: PROMOTION_MS, what: 'a replica that the Sentinels know' },
        ),
      );
    }
  }
  await settled();
  let lastPid = (await current()).pid;

  const redis: SentinelRedis = {
    url: urlOf(options, sentinels),
    dir: '',
    get pid() {
      return lastPid;
    },
    primaryPort,
    async failOver() {
      const { reach = {} } = sentinels[0] ?? {};
      await withClient(reach, (client) => client.call('sentinel', 'failover', NAME));
    },
    async cutReplica() {
      const { reach } = await current();
      await withClient(reach, async (client) => {
        await client.call('ACL', 'SETUSER', 'default', '-psync', '-sync');
        await client.call('CLIENT', 'KILL', 'TYPE', 'replica');
      });
    },
    async resume() {
      await Promise.all([...servers.values()].map((server) => server.kill('SIGCONT')));
    },
    async clientsAt(port) {
      const { reach = {} } = servers.get(port) ?? {};
      const list = await withClient(reach, (client) => client.call('client', 'list'));
      return [...String(list).matchAll(/ name=(\S*)/g)].map(([, name = '']) => name);
    },
    async replicated() {
      const { reach } = await current();
      await withClient(reach, (client) =>
        until(async () => Number(await client.wait(1, 100)) >= 1, { what: 'the replica to have everything' }),
      );
    },
    async promoted(instead) {
      const other = async () => (await primaryPort()) !== instead;
      await until(other, { timeoutMs: PROMOTION_MS, what: 'another primary' });
    },
    async kill(signal = 'SIGKILL') {
      if (signal !== 'SIGSTOP' && signal !== 'SIGCONT') await redis.replicated();
      await (await current()).kill(signal);
    },
    async restart() {
      const dead = [...servers].find(([, server]) => !server.running)?.[0];
      const port = dead ?? (await primaryPort());
      if (dead === undefined) await redis.kill();
      // The one that was killed may or may not have been replaced yet.
      await redis.promoted(port);
      await servers.get(port)?.restart(await commandOf(port, await primaryPort()));
      await settled();
      lastPid = (await current()).pid;
    },
    async stop() {
      await Promise.all([...sentinels, ...servers.values()].map((process) => process.kill()));
      await rm(dir, { recursive: true, force: true });
    },
  };
  return redis;
}

function listen({ tls }: SentinelOptions, port: number): string[] {
  const replication = tls ? [...tlsSettings(tls, port), '--tls-replication', 'yes'] : ['--port', `${port}`];
  return ['--bind', HOST, ...replication];
}

interface SentinelFile extends SentinelOptions {
  dir: string;
  port: number;
  primary: number;
  quorum: number;
}

function sentinelFile(options: SentinelFile): string {
  const { dir, port, primary, quorum, downAfterMs = 3_000, passwords } = options;
  const lines = [
    ...listen(options, port).join(' ').split(/ ?--/).filter(Boolean),
    `dir ${dir}`,
    `sentinel monitor ${NAME} ${HOST} ${primary} ${quorum}`,
    `sentinel down-after-milliseconds ${NAME} ${downAfterMs}`,
    `sentinel failover-timeout ${NAME} 4000`,
    ...(passwords
      ? [
          `requirepass ${passwords.sentinel}`,
          `sentinel sentinel-pass ${passwords.sentinel}`,
          `sentinel auth-pass ${NAME} ${passwords.server}`,
        ]
      : []),
  ];
  return `${lines.join('\n')}\n`;
}

function urlOf({ tls, passwords }: SentinelOptions, sentinels: RedisProcess[]): string {
  const scheme = tls ? 'rediss+sentinel' : 'redis+sentinel';
  const login = passwords ? `:${encodeURIComponent(passwords.server)}@` : '';
  const query = passwords ? `?sentinel_password=${encodeURIComponent(passwords.sentinel)}` : '';
  return `${scheme}://${login}${sentinels.map(({ reach }) => `${HOST}:${reach.port}`).join(',')}/${NAME}${query}`;
}

function facts(flat: string[]): Record<string, string> {
  const all: Record<string, string> = {};
  for (let i = 0; i + 1 < flat.length; i += 2) all[flat[i] as string] = flat[i + 1] as string;
  return all;
}
