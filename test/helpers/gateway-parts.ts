/** A gateway's API and workers in this process, wired by their `main.ts`, and a caller for them. */
import { type Logger, pino } from 'pino';
import { startApi } from '../../src/api/main.ts';
import type { RedisAddress } from '../../src/config/redis-url.ts';
import type { Needs } from '../../src/job/durability.ts';
import { createSealer } from '../../src/store/sealing.ts';
import { startWorkers } from '../../src/workers/main.ts';
import { createCaller } from './sluice-process.ts';
import { TEST_CONFIG } from './workers.ts';

const API_KEY = 'the-admin-of-the-tests';

export type GatewayParts = Awaited<ReturnType<typeof startGatewayParts>>;

/**
 * @param prefix one hash tag, such as `{sluice}`
 * @param options the log of each program (by default `TEST_LOG=debug` shows them), and what Redis must do with a write
 */
export async function startGatewayParts(
  redisAddress: RedisAddress,
  prefix = TEST_CONFIG.prefix,
  options: { api?: Logger; workers?: Logger; needs?: Needs } = {},
) {
  const log = pino({ level: process.env.TEST_LOG ?? 'silent' });
  const sealer = createSealer(Buffer.alloc(32, 5));
  const own = {
    ...{ prefix, apiKey: API_KEY, callbackSecret: `whsec_${Buffer.alloc(32, 6).toString('base64')}` },
    ...{ listen: { host: '127.0.0.1', port: 0 }, tls: null },
  };
  const config = { ...TEST_CONFIG, ...own, ...(options.needs && { needs: options.needs }) };
  const onGivenUp = (error: Error) => {
    throw error;
  };
  const workers = await startWorkers({
    config,
    redisAddress,
    sealer,
    log: options.workers ?? log,
    onGivenUp,
  });
  const api = await startApi({
    ...{ config, version: '0.0.0-test', redisAddress, sealer },
    log: options.api ?? log,
  });
  return {
    url: api.url,
    /** The key of `admin`. */
    key: API_KEY,
    sealer,
    /** As `admin`. */
    call: createCaller(() => api.url, API_KEY),
    /** As whoever has this key. */
    callAs: (key: string) => createCaller(() => api.url, key),
    async close() {
      await api.close();
      await workers.close();
    },
  };
}
