/**
 * What is asked of the Sentinels beside what ioredis asks them: whether the primary was replaced, and why they do not
 * answer.
 *
 * A primary that was killed closes its connections, and clients find its successor by themselves. One that hangs, or
 * is cut off from everybody but us, would go on taking writes that its successor never sees: it is left when the
 * Sentinels say so. ioredis' own `failoverDetector` is not used: news that reach it while the client looks for the
 * new primary end that client for good.
 */
import { Redis } from 'ioredis';
import { type Certificates, verified } from './tls.ts';

export interface Watched {
  /** What the Sentinels call the primary. */
  name?: string | undefined;
  sentinels?: readonly { host: string; port: number }[];
  sentinelUsername?: string | undefined;
  sentinelPassword?: string | undefined;
  tls?: Certificates;
}

const PRIMARY_REPLACED = '+switch-master';

/** From its first connection until it is disconnected, `client` leaves a primary that was replaced. */
export function followFailovers(client: Redis, watched: Watched): void {
  const sentinels = clientsOf(watched, (times) => Math.min(500 * times, 5_000));
  const leave = (_channel: string, news: string) => {
    if (news.startsWith(`${watched.name} `)) client.disconnect(true);
  };
  client.once('ready', () => {
    for (const sentinel of sentinels) {
      sentinel.on('message', leave);
      // One that is away is tried again; the others tell the same.
      sentinel.on('error', () => undefined);
      sentinel.subscribe(PRIMARY_REPLACED).catch(() => undefined);
    }
  });
  const stop = () => {
    for (const sentinel of sentinels) sentinel.disconnect();
  };
  client.once('end', stop);
  const disconnect = client.disconnect.bind(client);
  client.disconnect = (reconnect = false) => {
    // It is looking for the primary already, and asked again just then it would end instead.
    if (reconnect && client.status === 'connecting') return;
    // Disconnected between two attempts it never tells its end, and the process would not end either.
    if (!reconnect) stop();
    disconnect(reconnect);
  };
}

/** For people: why no Sentinel tells where the primary is. ioredis says of each only that its connection was closed. */
export async function whySentinelsFail(watched: Watched): Promise<string> {
  const answers = await Promise.all(clientsOf(watched, null).map((sentinel) => trouble(sentinel)));
  const troubles = answers.filter((answer) => answer !== null);
  return troubles.join('; ') || `no Sentinel knows a primary named ${watched.name}`;
}

async function trouble(sentinel: Redis): Promise<string | null> {
  let why: Error | undefined;
  sentinel.on('error', (error: Error) => {
    why ??= error;
  });
  try {
    await sentinel.connect();
    await sentinel.ping();
    return null;
  } catch (error) {
    const { host, port } = sentinel.options;
    return `${host}:${port}: ${(why ?? (error as Error)).message}`;
  } finally {
    sentinel.disconnect();
  }
}

/** One for each Sentinel, not yet connected. */
function clientsOf(
  { sentinels = [], sentinelUsername, sentinelPassword, tls }: Watched,
  retryStrategy: ((times: number) => number) | null,
): Redis[] {
  const login = { username: sentinelUsername, password: sentinelPassword };
  const connection = { connectTimeout: 3_000, keepAlive: 10_000, lazyConnect: true };
  return sentinels.map(
    (server) =>
      new Redis({
        ...server,
        ...login,
        ...(tls && { tls: verified(tls) }),
        ...connection,
        retryStrategy,
        maxRetriesPerRequest: null,
        enableReadyCheck: false,
      }),
  );
}
