/**
 * Connections to Redis, one shape for each way they are used. All of them follow the primary through a failover:
 * they ask the Sentinels at each connect, and leave a server that says it is read-only.
 *
 * `requests` fails fast: a caller's HTTP request must become a 503, not hang, while Redis is away.
 * `blocking` never gives up: BullMQ's workers wait for work on it and must come back by themselves.
 * `once` gives up at the first failure: for commands and checks, whose answer is "it is not there".
 */
import { Redis, type RedisOptions } from 'ioredis';
import { coalesceWrites } from './redis/coalescing.ts';
import { followFailovers } from './redis/sentinels.ts';
import { type Certificates, verified } from './redis/tls.ts';

export type { Redis } from 'ioredis';

type Place = 'path' | 'host' | 'port' | 'db' | 'username' | 'password';
type Sentinels = 'name' | 'sentinelUsername' | 'sentinelPassword';
type Patience = Omit<RedisOptions, 'replyMapping'>;

/** Where Redis is: a server, a Unix socket, or Sentinels and the primary's `name` there. */
export interface RedisAddress extends Pick<RedisOptions, Place | Sentinels> {
  sentinels?: readonly { host: string; port: number }[];
  /** There to speak TLS, to the Sentinels too. */
  tls?: Certificates;
  /** For people, without secrets. */
  shown: string;
}

/** Longer than BullMQ's longest blocking read (10 s): where nothing came by then, nothing will. */
const SILENCE_MS = 15_000;
/** How long a server that says it is read-only is stayed with after it was left and found again, in ms. */
const LEAVE_AGAIN_MS = 2_000;

export function connectForRequests(address: RedisAddress, name: string): Redis {
  return connect(address, {
    connectionName: `sluice:${name}`,
    maxRetriesPerRequest: 1,
    enableOfflineQueue: false,
    commandTimeout: 5_000,
  });
}

/** For BullMQ workers and subscriptions. */
export function connectForBlocking(address: RedisAddress, name: string): Redis {
  return connect(address, { connectionName: `sluice:${name}`, maxRetriesPerRequest: null });
}

/** Why it failed is told by its `error` event, and by `whySentinelsFail` where the address has Sentinels. */
export function connectOnce(address: RedisAddress, name: string): Redis {
  return createClient(address, {
    connectionName: `sluice:${name}`,
    commandTimeout: 5_000,
    retryStrategy: null,
    sentinelRetryStrategy: () => null,
  });
}

/**
 * A listener for errors that tells each reason once until `connection` is back: while Redis is away, every attempt of
 * every connection fails anew, several times a second.
 */
export function oncePerOutage(connection: Redis, tell: (error: Error) => void): (error: Error) => void {
  const told = new Set<string>();
  connection.on('ready', () => told.clear());
  return (error) => {
    if (told.has(error.message)) return;
    told.add(error.message);
    tell(error);
  };
}

function connect(address: RedisAddress, patience: Patience): Redis {
  const client = createClient(address, {
    ...patience,
    socketTimeout: SILENCE_MS,
    // A subscriber asks nothing, so it notices no silence; the kernel does.
    keepAlive: 10_000,
    retryStrategy: (times) => Math.min(50 * times, 1_000),
    sentinelRetryStrategy: (times) => Math.min(100 * times, 1_000),
    reconnectOnError: createLeaving(),
  });
  if (address.sentinels) followFailovers(client, address);
  coalesceWrites(client);
  return client;
}

/**
 * Leaves a primary that was demoted. The command fails all the same: sent again by itself it would leave its MULTI. Where
 * nobody was promoted it comes back to the same server: not with every write that fails, or reads would fail with them.
 */
function createLeaving(): (error: Error) => boolean {
  let leftAt = Number.NEGATIVE_INFINITY;
  return ({ message }) => {
    if (!message.startsWith('READONLY') || performance.now() - leftAt < LEAVE_AGAIN_MS) return false;
    leftAt = performance.now();
    return true;
  };
}

function createClient({ shown: _, sentinels, tls, ...place }: RedisAddress, patience: Patience): Redis {
  return new Redis({
    ...place,
    ...patience,
    ...(sentinels && { sentinels: [...sentinels], sentinelCommandTimeout: 2_000 }),
    ...(tls && { tls: verified(tls), sentinelTLS: verified(tls), enableTLSForSentinelMode: true }),
    connectTimeout: 3_000,
    // What a peer that hangs gets to say goodbye in.
    disconnectTimeout: 500,
    lazyConnect: true,
  });
}
