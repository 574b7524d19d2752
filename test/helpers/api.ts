/**
 * The API as `main.ts` composes it, over a real Redis and real HTTP, for one test file:
 * `const api = await startTestApi(redis.url)` … `await api.stop()`. What it logs is kept in `api.log`.
 */
import type { AddressInfo } from 'node:net';
import { pino } from 'pino';
import { type ApiDeps, buildApp } from '../../src/api/app.ts';
import { parseRedisUrl } from '../../src/config/redis-url.ts';
import { createProcessMetrics } from '../../src/metrics/process.ts';
import { createAgentPort } from '../../src/net/agents.ts';
import { createApiKeyStore, type Grants } from '../../src/store/api-keys.ts';
import { createBatchStore } from '../../src/store/batches.ts';
import { createBudget } from '../../src/store/budget.ts';
import { createDeliveryStore } from '../../src/store/deliveries.ts';
import { createReadQueue } from '../../src/store/explain.ts';
import { createFeed } from '../../src/store/feed.ts';
import { createFollowed } from '../../src/store/followed.ts';
import { createHostStore } from '../../src/store/hosts.ts';
import { createCancel } from '../../src/store/jobs/cancel.ts';
import { createLineStore } from '../../src/store/jobs/line.ts';
import { createJobStore } from '../../src/store/jobs.ts';
import { createKeys } from '../../src/store/keys.ts';
import { createQueues } from '../../src/store/queues.ts';
import { connectForBlocking, connectForRequests } from '../../src/store/redis.ts';
import { createSealer } from '../../src/store/sealing.ts';
import { createSlotStore } from '../../src/store/slots.ts';
import { createVitals } from '../../src/store/vitals.ts';
import { createEndpointStore } from '../../src/store/webhooks.ts';

export const ADMIN_TOKEN = 'an-admin-token-of-the-tests';

export interface Reply {
  status: number;
  headers: Headers;
  text: string;
  /** The reply's JSON; empty where it is none. */
  body: Record<string, unknown>;
}

export type TestApi = Awaited<ReturnType<typeof startTestApi>>;

export async function startTestApi(redisUrl: string, overrides: Partial<ApiDeps> = {}) {
  const redisAddress = parseRedisUrl(redisUrl);
  const redis = connectForRequests(redisAddress, 'test');
  const subscriber = connectForBlocking(redisAddress, 'test-feed');
  for (const connection of [redis, subscriber]) connection.on('error', () => {});
  await redis.connect();
  const keys = createKeys('{sluice}');
  const sealer = createSealer(Buffer.alloc(32, 7));
  const jobs = createJobStore({ redis, keys, onTold: () => {}, onFreed: () => {}, onBatchDue: () => {} });
  const hosts = createHostStore({ redis, keys, sealer, patterns: [] });
  const feed = await createFeed({ redis, subscriber, keys, hears: 'everything' });
  const slots = createSlotStore({ redis, keys });
  const agents = createAgentPort();
  const admin = { token: ADMIN_TOKEN, callbackSecret: 'whsec_dGhlIHNlY3JldCBvZiB0aGUgYWRtaW4gY2FsbGJhY2s=' };
  const apiKeys = createApiKeyStore({ redis, keys, sealer, admin, cacheMs: 50 });
  const queues = createQueues(redis, keys.queuePrefix);
  const { wake } = queues;
  const metrics = createProcessMetrics();
  metrics.watch(createVitals({ redis, keys }).read);
  const log: string[] = [];
  const app = await buildApp({
    logger: pino({ level: 'debug' }, { write: (line: string) => void log.push(line) }),
    version: '0.0.0-test',
    onStoreTrouble: () => {},
    jobs,
    batches: createBatchStore({ redis, keys }),
    hosts,
    feed,
    slots,
    budget: createBudget({ redis, keys }),
    readQueue: createReadQueue({ redis, keys }),
    followed: createFollowed({ redis, keys }),
    agents,
    apiKeys,
    wake,
    sealer,
    redis,
    needs: { durability: 'everysec', ackReplicas: 0 },
    endpoints: createEndpointStore({ redis, keys, sealer }),
    deliveries: createDeliveryStore({ redis, keys }),
    cancelJob: createCancel({ jobs, wake }),
    lines: createLineStore({ redis, keys }),
    refuseCallback: async () => null,
    holdLimits: { perKey: 50, total: 100 },
    metrics,
    ...overrides,
  });
  await app.listen({ host: '127.0.0.1', port: 0 });
  const { port } = app.server.address() as AddressInfo;
  const url = `http://127.0.0.1:${port}`;

  async function call(method: string, path: string, options: CallOptions = {}): Promise<Reply> {
    const { body, token = ADMIN_TOKEN, headers = {}, signal } = options;
    const response = await fetch(`${url}${path}`, {
      method,
      headers: {
        ...(token && { authorization: `Bearer ${token}` }),
        ...(body !== undefined && { 'content-type': 'application/json' }),
        ...headers,
      },
      ...(body !== undefined && {
        body:
          typeof body === 'string' || body instanceof Uint8Array ? (body as string) : JSON.stringify(body),
      }),
      ...(signal && { signal }),
    });
    const text = await response.text();
    const isJson = /json/.test(response.headers.get('content-type') ?? '') && text !== '';
    const { status, headers: received } = response;
    return { status, headers: received, text, body: isJson ? JSON.parse(text) : {} };
  }

  /** @returns the key itself */
  async function key(name: string, grants: Partial<Grants> = {}): Promise<string> {
    const made = await apiKeys.createKey(name, { scopes: [], hosts: ['*'], users: ['*', null], ...grants });
    return made.token;
  }

  async function stop(): Promise<void> {
    await app.close();
    await feed.close();
    await agents.close();
    await queues.close();
    redis.disconnect();
    subscriber.disconnect();
  }

  return {
    app,
    url,
    call,
    key,
    stop,
    log,
    redis,
    keys,
    jobs,
    hosts,
    feed,
    slots,
    budget: createBudget({ redis, keys }),
    agents,
    apiKeys,
    sealer,
  };
}

export interface CallOptions {
  /** Sent as it is if it is text or bytes, else as JSON. */
  body?: unknown;
  /** Empty for none. */
  token?: string;
  headers?: Record<string, string>;
  signal?: AbortSignal;
}
