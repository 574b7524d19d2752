/**
 * Connections to Redis, one shape for each way they are used.
 *
 * `requests` fails fast: a caller's HTTP request must become a 503, not hang, while Redis is away.
 * `blocking` never gives up: BullMQ's workers wait for work on it and must come back by themselves.
 */
import { Redis } from 'ioredis';

export type { Redis } from 'ioredis';

/** @param url `redis://`, `rediss://`, or the path of a Unix socket (`unix:///path?password=...`). */
export function connectForRequests(url: string, name: string): Redis {
  return connect(url, {
    connectionName: `sluice:${name}`,
    maxRetriesPerRequest: 1,
    enableOfflineQueue: false,
    commandTimeout: 5_000,
  });
}

/** For BullMQ workers and subscriptions. */
export function connectForBlocking(url: string, name: string): Redis {
  return connect(url, { connectionName: `sluice:${name}`, maxRetriesPerRequest: null });
}

interface Patience {
  connectionName: string;
  maxRetriesPerRequest: number | null;
  enableOfflineQueue?: boolean;
  commandTimeout?: number;
}

function connect(url: string, patience: Patience): Redis {
  const options = {
    ...patience,
    connectTimeout: 3_000,
    retryStrategy: (times: number) => Math.min(50 * times, 1_000),
    lazyConnect: true,
  };
  if (!url.startsWith('unix://')) return new Redis(url, options);
  const { pathname, searchParams } = new URL(url);
  const password = searchParams.get('password');
  return new Redis({ ...options, path: decodeURIComponent(pathname), ...(password && { password }) });
}
