/**
 * What every process of a gateway needs before it starts: a Redis that is fit for it, the secret key that its
 * records are sealed with, and a log.
 */
import { type Logger, pino } from 'pino';
import { readSecretKey } from '../config/secret-key.ts';
import type { Config } from '../config.ts';
import type { Needs } from '../job/durability.ts';
import { createKeys } from '../store/keys.ts';
import { inspectRedis } from '../store/redis/fitness.ts';
import { whySentinelsFail } from '../store/redis/sentinels.ts';
import { connectOnce, type Redis, type RedisAddress } from '../store/redis.ts';
import { claimSecretKey } from '../store/sealing/secret-fingerprint.ts';
import { createSealer, type Sealer } from '../store/sealing.ts';
import { Failure } from './failure.ts';

export interface Gateway {
  redisAddress: RedisAddress;
  sealer: Sealer;
  log: Logger;
}

/**
 * For `sluice api` and `sluice worker`, which use a Redis and a key that somebody else looks after.
 * @throws Failure with the remedy
 */
export async function joinGateway(config: Config): Promise<Gateway> {
  const { redis: redisAddress, secretKeyFile } = config;
  if (!redisAddress) throw new Failure('needs REDIS_URL; `sluice up` brings a Redis of its own');
  if (!secretKeyFile)
    throw new Failure('needs SLUICE_SECRET_KEY_FILE; make one with: sluice keys secret > FILE');
  const log = await createLog(config);
  const sealer = createSealer(readKey(() => readSecretKey(secretKeyFile)));
  await checkStore({ redisAddress, prefix: config.prefix, needs: config.needs, sealer, log });
  return { redisAddress, sealer, log };
}

/** JSON lines on stdout, for whatever collects logs; on a terminal, lines for the person who looks at it. */
export async function createLog(
  config: Pick<Config, 'logLevel' | 'unknownVariables' | 'crashAt'>,
): Promise<Logger> {
  const options = {
    level: config.logLevel,
    base: null,
    timestamp: pino.stdTimeFunctions.isoTime,
    serializers: { err: withoutCommand },
  };
  const log = process.stdout.isTTY
    ? pino(options, (await import('pino-pretty')).build({ singleLine: true }))
    : pino(options);
  for (const variable of config.unknownVariables) log.warn({ variable }, 'config.unknown_variable');
  if (config.crashAt) {
    log.warn(
      config.crashAt,
      'SLUICE_CRASH_AT IS SET: this process kills itself at that step; it is for tests only',
    );
  }
  return log;
}

/** ioredis adds the command to its errors; its arguments are passwords, jobs and what secrets are sealed in. */
function withoutCommand(error: unknown): unknown {
  if (!(error instanceof Error)) return error;
  const { command: _, ...rest } = pino.stdSerializers.err(error);
  return rest;
}

/** @throws Failure where the file does not hold a key */
export function readKey(read: () => Buffer): Buffer {
  try {
    return read();
  } catch (error) {
    throw new Failure((error as Error).message);
  }
}

/** Refuses a Redis that cannot work and another gateway's key; says loudly what will be missed on a bad day. */
export async function checkStore(store: {
  redisAddress: RedisAddress;
  prefix: string;
  needs: Needs;
  sealer: Pick<Sealer, 'fingerprint'>;
  log: Logger;
}): Promise<void> {
  await withRedis(store.redisAddress, async (redis) => {
    const unfit = await inspectRedis(redis, store.needs);
    for (const { what, remedy, fatal } of unfit) {
      if (fatal) throw new Failure(`${what}: ${remedy}`);
      store.log.error({ what, remedy }, 'redis.unfit');
    }
    if (await claimSecretKey(redis, createKeys(store.prefix), store.sealer.fingerprint)) return;
    throw new Failure(
      'secret_key_mismatch: what this Redis holds is sealed with another secret key; give every process of this ' +
        'gateway the same SLUICE_SECRET_KEY_FILE',
    );
  });
}

/** @throws Failure where Redis cannot be reached */
export async function withRedis<T>(address: RedisAddress, use: (redis: Redis) => Promise<T>): Promise<T> {
  const redis = connectOnce(address, 'cli');
  let last: Error | undefined;
  redis.on('error', (error: Error) => {
    last = error;
  });
  try {
    await redis.connect();
  } catch (error) {
    redis.disconnect();
    // OpenSSL's messages end in a line break.
    let why = (last ?? (error as Error)).message.trim();
    if (why.startsWith('All sentinels are unreachable')) why = await whySentinelsFail(address);
    throw new Failure(`Redis at ${address.shown} does not answer: ${why}; ${remedyFor(why, address)}`);
  }
  try {
    return await use(redis);
  } finally {
    redis.disconnect();
  }
}

function remedyFor(why: string, { tls }: RedisAddress): string {
  // A server that misses our certificate may hang up before its alert is read.
  if (tls && !tls.cert && /alert|ECONNRESET|EPIPE/.test(why)) {
    return 'if it wants to see a certificate, set SLUICE_REDIS_TLS_CERT and SLUICE_REDIS_TLS_KEY';
  }
  if (/certificate/.test(why)) return 'set SLUICE_REDIS_TLS_CA to the certificate of who signed it';
  return 'is it up, and is REDIS_URL right?';
}
