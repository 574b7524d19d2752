/**
 * `sluice up`: a whole gateway on one machine. Starts, in this order, Redis (unless REDIS_URL names one), the
 * API with the workers, and with `--agent` an agent; stops them in the reverse order.
 *
 * Everything that must survive is in the data directory: killed and started again on the same one, it goes on.
 */
import { startApi } from '../api/main.ts';
import { readOrMakeSecretKey, readSecretKey } from '../config/secret-key.ts';
import { type Config, inheritedEnvironment, loadConfig } from '../config.ts';
import { createProcessMetrics } from '../metrics/process.ts';
import { createApiKeyStore } from '../store/api-keys.ts';
import { createHostStore } from '../store/hosts.ts';
import { createKeys } from '../store/keys.ts';
import type { RedisAddress } from '../store/redis.ts';
import { createSealer } from '../store/sealing.ts';
import { startWorkers } from '../workers/main.ts';
import { commandName } from './command-name.ts';
import { Failure } from './failure.ts';
import { checkStore, createLog, type Gateway, readKey, withRedis } from './gateway.ts';
import { describeListenError, describeMetricsListenError } from './listen-error.ts';
import { closeAll, listenForStop, type Stopping } from './stopping.ts';
import { checkTlsFiles } from './tls-files.ts';
import { closedToOthers, type DataDir, dataDirAt, lockDataDir, prepareDataDir } from './up/data-dir.ts';
import { startEmbeddedRedis } from './up/embedded-redis.ts';
import { ensureFirstKey } from './up/first-key.ts';
import { type LocalAgent, startLocalAgent } from './up/local-agent.ts';
import { packageVersion } from './version.ts';

export interface UpOptions {
  listen?: string;
  data?: string;
  /** `HOST:PORT` for the local agent. */
  agent?: string;
  tlsCert?: string;
  tlsKey?: string;
  tlsClientCa?: string;
}

type Closers = (() => Promise<void> | void)[];

export async function up(options: UpOptions): Promise<void> {
  const config = loadConfig({
    SLUICE_LISTEN: options.listen,
    SLUICE_DATA: options.data,
    SLUICE_TLS_CERT: options.tlsCert,
    SLUICE_TLS_KEY: options.tlsKey,
    SLUICE_TLS_CLIENT_CA: options.tlsClientCa,
  });
  checkTlsFiles(config.tls);
  const data = dataDirAt(config.dataDir);
  prepareDataDir(data);
  const closers: Closers = [await lockDataDir(data)];
  const stopping = listenForStop();
  try {
    const gateway = await startStore(config, data, stopping, closers);
    const url = await startPrograms(config, gateway, stopping, closers);
    await withRedis(gateway.redisAddress, (redis) => {
      const keys = createKeys(config.prefix);
      return ensureFirstKey(createApiKeyStore({ redis, keys, sealer: gateway.sealer }), data.keyFile, url);
    });
    const agent =
      options.agent && (await startAgentChild(options.agent, config, data, gateway, stopping, closers));
    if (!stopping.signal.aborted) announce(url, data, agent ? agent : undefined);
    await stopping.requested;
  } catch (error) {
    // A start that was interrupted has not failed.
    if (!stopping.signal.aborted) throw error;
  } finally {
    await closeAll(closers);
    stopping.done();
  }
}

async function startStore(
  config: Config,
  data: DataDir,
  stopping: Stopping,
  closers: Closers,
): Promise<Gateway> {
  const log = await createLog(config);
  const { secretKeyFile } = config;
  if (config.redis && !secretKeyFile) {
    throw new Failure(
      `with REDIS_URL needs SLUICE_SECRET_KEY_FILE; make one with: ${commandName()} keys secret > FILE`,
    );
  }
  const secret = readKey(() =>
    secretKeyFile ? readSecretKey(secretKeyFile) : readOrMakeSecretKey(data.secretKeyFile),
  );
  const sealer = createSealer(secret);
  let redisAddress: RedisAddress | null = config.redis;
  if (!redisAddress) {
    const env = inheritedEnvironment();
    const redis = await startEmbeddedRedis({
      data,
      durability: config.needs.durability,
      env,
      log,
      signal: stopping.signal,
      onGivenUp: stopping.now,
    });
    closers.push(() => redis.child.stop());
    redisAddress = redis.address;
  }
  await checkStore({ redisAddress, prefix: config.prefix, needs: config.needs, sealer, log });
  return { redisAddress, sealer, log };
}

/** @returns where the API is to be found */
async function startPrograms(
  config: Config,
  gateway: Gateway,
  stopping: Stopping,
  closers: Closers,
): Promise<string> {
  // One process, one registry: either's `/metrics` tells of both.
  const shared = { config, ...gateway, metrics: createProcessMetrics() };
  const workers = await startWorkers({ ...shared, onGivenUp: stopping.now }).catch((error: unknown) => {
    throw describeMetricsListenError(error, config);
  });
  closers.push(() => workers.close());
  const api = await startApi({ ...shared, version: packageVersion() }).catch((error: unknown) => {
    throw describeListenError(error, config.listen);
  });
  closers.push(() => api.close());
  return api.url;
}

async function startAgentChild(
  address: string,
  config: Config,
  data: DataDir,
  { redisAddress, sealer, log }: Gateway,
  stopping: Stopping,
  closers: Closers,
): Promise<LocalAgent> {
  const env = inheritedEnvironment();
  const agent = await startLocalAgent({
    data,
    address,
    env,
    log,
    signal: stopping.signal,
    onGivenUp: stopping.now,
  });
  closers.push(() => agent.child.stop());
  const closed = process.geteuid?.() === 0 ? closedToOthers(data) : undefined;
  if (closed)
    console.error(`sluice: jobs as other users will fail: they cannot pass through ${closed} (chmod o+x)`);
  const { token, fingerprint } = agent;
  await withRedis(redisAddress, (redis) => {
    const hosts = createHostStore({ redis, keys: createKeys(config.prefix), sealer, patterns: [] });
    return hosts.put('local', { address, token, tls: { fingerprint } });
  });
  return agent;
}

function announce(url: string, data: DataDir, agent: LocalAgent | undefined): void {
  const sluice = commandName();
  const next = agent
    ? `${sluice} submit local --wait -- uname -a`
    : `${sluice} hosts set NAME --address HOST:18443 --token-file FILE`;
  console.log(`sluice ${packageVersion()} is up at ${url}`);
  console.log(`  its first key:  ${data.keyFile}`);
  if (agent) console.log(`  host \`local\`:   ${agent.address}`);
  // Where the next command looks for the key, too.
  const place = data.path === dataDirAt(null).path ? '' : `SLUICE_DATA=${data.path} `;
  console.log(`  try:            ${place}${next}`);
}
