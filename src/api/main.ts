/**
 * The API as a program: connects, wires and listens, and closes in reverse order. Any number of processes may
 * run it on one Redis.
 */
import { readFile } from 'node:fs/promises';
import type { AddressInfo } from 'node:net';
import type { Logger } from 'pino';
import type { Config } from '../config.ts';
import { createProcessMetrics, type ProcessMetrics } from '../metrics/process.ts';
import { createAddressRules, createUrlCheck } from '../net/addresses.ts';
import { createAgentPort } from '../net/agents.ts';
import { createApiKeyStore, isIssued } from '../store/api-keys.ts';
import { createBatchStore } from '../store/batches.ts';
import { createBudget } from '../store/budget.ts';
import { createDeliveryStore } from '../store/deliveries.ts';
import { createReadQueue } from '../store/explain.ts';
import { createFeed } from '../store/feed.ts';
import { createFollowed } from '../store/followed.ts';
import { createHostStore } from '../store/hosts.ts';
import { createCancel } from '../store/jobs/cancel.ts';
import { createLineStore } from '../store/jobs/line.ts';
import { createJobStore } from '../store/jobs.ts';
import { createKeys } from '../store/keys.ts';
import { createWakers } from '../store/queues/wakers.ts';
import { createQueues } from '../store/queues.ts';
import { createAcknowledging } from '../store/redis/acknowledging.ts';
import { createOutages } from '../store/redis/outages.ts';
import {
  connectForBlocking,
  connectForRequests,
  oncePerOutage,
  type Redis,
  type RedisAddress,
} from '../store/redis.ts';
import type { Sealer } from '../store/sealing.ts';
import { createSlotStore } from '../store/slots.ts';
import { createVitals } from '../store/vitals.ts';
import { createEndpointStore } from '../store/webhooks.ts';
import { acknowledgedStores, type Stores } from './acknowledged-stores.ts';
import { type ApiDeps, buildApp } from './app.ts';
import { createCrashPoints } from './crash-points.ts';

export interface RunningApi {
  /** Where it is found on this machine, such as `http://127.0.0.1:8080`. */
  url: string;
  /** Answers what is held, takes nothing new, and lets go of Redis. */
  close(): Promise<void>;
}

export interface ApiProgramDeps {
  config: Pick<
    Config,
    | 'prefix'
    | 'listen'
    | 'tls'
    | 'apiKey'
    | 'callbackSecret'
    | 'addressPatterns'
    | 'webhooks'
    | 'needs'
    | 'crashAt'
  >;
  version: string;
  redisAddress: RedisAddress;
  sealer: Sealer;
  log: Logger;
  /** Those of this process, where another program runs in it too. */
  metrics?: ProcessMetrics;
}

/** Long polls and streams: for each key (a large Airflow holds some dozens), and for a process. */
const HOLD_LIMITS = { perKey: 1_000, total: 5_000 };

/** @throws Error of Node's `listen`, such as EADDRINUSE; nothing is left open then */
export async function startApi({
  config,
  version,
  redisAddress,
  sealer,
  log: told,
  metrics = createProcessMetrics(),
}: ApiProgramDeps): Promise<RunningApi> {
  // First of all: what it throws must leave nothing open.
  const tls = config.tls && (await readTls(config.tls));
  const keys = createKeys(config.prefix);
  const redis = connectForRequests(redisAddress, 'api');
  const subscriber = connectForBlocking(redisAddress, 'api-feed');
  const producer = connectForRequests(redisAddress, 'api-queues');
  const { ackReplicas: replicas } = config.needs;
  const writer = replicas > 0 ? connectForRequests(redisAddress, 'api-writes') : null;
  const connections = [redis, subscriber, producer, ...(writer ? [writer] : [])];
  const outages = createOutages({ redis: producer, key: keys.probe, log: told });
  const { log } = outages;
  for (const connection of connections) {
    const tell = ({ message }: Error) => log.warn({ reason: message }, 'redis.error');
    connection.on('error', oncePerOutage(connection, tell));
  }
  await Promise.all(connections.map((connection) => connection.connect()));

  const stored = { redis, keys };
  const queues = createQueues(producer, keys.queuePrefix);
  const points = createCrashPoints(config.crashAt, () => process.kill(process.pid, 'SIGKILL'));
  const wake = points.wake(queues.wake);
  const wakers = createWakers({ wake, log });
  const { onHostChange, onRequest } = metrics;
  const open = (over: Redis): Stores => {
    const place = { redis: over, keys };
    const jobs = points.jobs(createJobStore({ ...place, ...wakers }));
    return {
      jobs,
      batches: points.batches(createBatchStore(place)),
      hosts: createHostStore({ ...place, sealer, patterns: config.addressPatterns, onHostChange }),
      endpoints: createEndpointStore({ ...place, sealer }),
      deliveries: createDeliveryStore(place),
      cancelJob: createCancel({ jobs, wake }),
    };
  };
  const onChange = (change: 'missing' | 'back') =>
    log[change === 'missing' ? 'error' : 'info']({ replicas }, `replicas.${change}`);
  const stores = writer
    ? acknowledgedStores(
        open(redis),
        open(writer),
        createAcknowledging({ redis: writer, keys, replicas, onChange }),
      )
    : open(redis);
  const { hosts } = stores;
  const admin = adminOf(config, log);
  const feed = await createFeed({ redis, subscriber, keys, hears: 'everything' });
  const agents = createAgentPort({ onRequest });
  const rules = createAddressRules(config.webhooks);

  const app = await buildApp({
    ...stores,
    ...{ version, redis, needs: config.needs, feed, wake, agents, sealer, metrics },
    ...(tls && { tls }),
    logger: log,
    onStoreTrouble: outages.noticed,
    holdLimits: HOLD_LIMITS,
    apiKeys: createApiKeyStore({ ...stored, sealer, admin }),
    slots: createSlotStore(stored),
    budget: createBudget({ ...stored, onWait: (what) => metrics.onLimited('rate', what) }),
    readQueue: createReadQueue(stored),
    lines: createLineStore(stored),
    followed: createFollowed(stored),
    refuseCallback: createUrlCheck({ rules, isAgentAddress: (address) => hosts.isAgentAddress(address) }),
  });

  points.app(app);
  metrics.watch(createVitals(stored).read);

  async function close(): Promise<void> {
    await app.close();
    await agents.close();
    await feed.close();
    await queues.close();
    outages.close();
    for (const connection of [redis, producer, writer]) connection?.disconnect();
  }

  try {
    // A copy: Fastify writes into it, and the configuration is frozen.
    await app.listen({ ...config.listen });
  } catch (error) {
    await close();
    throw error;
  }
  const url = urlOf(app.server.address() as AddressInfo, config.tls !== null);
  warnWithoutTls(config, log);
  log.info({ url }, 'api.started');
  return { url, close };
}

/**
 * The admin key of the configuration. An issued key in its variable, where the command line of the same shell has it, stays
 * what it was issued as: taken for the admin's, it could do everything, and could not be revoked.
 */
function adminOf({ apiKey, callbackSecret }: ApiProgramDeps['config'], log: Logger) {
  if (apiKey === null) return undefined;
  if (isIssued(apiKey)) {
    log.warn(
      { setting: 'SLUICE_API_KEY' },
      'api.admin_key_ignored: it is an issued key, and stays what it was issued as',
    );
    return undefined;
  }
  return { token: apiKey, ...(callbackSecret !== null && { callbackSecret }) };
}

async function readTls(files: NonNullable<Config['tls']>): Promise<NonNullable<ApiDeps['tls']>> {
  const [cert, key] = await Promise.all([readFile(files.certFile, 'utf8'), readFile(files.keyFile, 'utf8')]);
  if (files.clientCaFile === null) return { cert, key };
  return { cert, key, ca: await readFile(files.clientCaFile, 'utf8') };
}

function urlOf({ address, family, port }: AddressInfo, tls: boolean): string {
  const everywhere = address === '0.0.0.0' || address === '::';
  const host = everywhere ? '127.0.0.1' : family === 'IPv6' ? `[${address}]` : address;
  return `${tls ? 'https' : 'http'}://${host}:${port}`;
}

function warnWithoutTls({ listen, tls }: Pick<Config, 'listen' | 'tls'>, log: Logger): void {
  if (tls !== null || /^(localhost|127\.|::1$|\[::1\]$)/.test(listen.host)) return;
  log.warn(
    { host: listen.host, remedy: 'set --tls-cert and --tls-key, or put a proxy that speaks TLS before it' },
    'THE API LISTENS BEYOND LOOPBACK WITHOUT TLS: API keys, commands and output can be read on the network',
  );
}
