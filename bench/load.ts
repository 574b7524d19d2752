/**
 * What the fleet scenarios do through the HTTP API, over several connections as callers have them: register the
 * simulated hosts, submit jobs. The gate holds dispatch back until everything is in, so that starting is measured
 * and not accepting.
 */
import { Queue } from 'bullmq';
import { Pool } from 'undici';
import { parseRedisUrl } from '../src/config/redis-url.ts';
import { createKeys } from '../src/store/keys.ts';
import { QUEUES } from '../src/store/queues.ts';
import { connectForBlocking } from '../src/store/redis.ts';
import { until } from '../test/helpers/until.ts';
import { API_KEY, type Rig } from './rig.ts';

const CONNECTIONS = 32;
/** The prefix that the configuration has by default. */
const KEYS = createKeys('{sluice}');

export interface LoadHost {
  name: string;
  address: string;
  token: string;
  tls: object;
}

export type Load = Awaited<ReturnType<typeof createLoad>>;

export async function createLoad(rig: Rig) {
  const pool = new Pool(rig.url, { connections: CONNECTIONS, pipelining: 1 });
  const redis = connectForBlocking(parseRedisUrl(rig.redis.url), 'bench');
  await redis.connect();
  const [dispatch, polls] = [QUEUES.dispatch, QUEUES.follow].map(
    (name) => new Queue(name, { connection: redis, prefix: KEYS.queuePrefix }),
  ) as [Queue, Queue];

  async function call(method: 'PUT' | 'POST', path: string, body: object): Promise<void> {
    const reply = await pool.request({
      method,
      path,
      headers: { authorization: `Bearer ${API_KEY}`, 'content-type': 'application/json' },
      body: JSON.stringify(body),
    });
    const text = await reply.body.text();
    if (reply.statusCode >= 300) throw new Error(`${method} ${path}: ${reply.statusCode} ${text}`);
  }

  /** As many under way as there are connections, in order. */
  async function inTurn<T>(items: readonly T[], work: (item: T, i: number) => Promise<void>): Promise<void> {
    let next = 0;
    const one = async () => {
      for (let i = next++; i < items.length; i = next++) await work(items[i] as T, i);
    };
    await Promise.all(Array.from({ length: CONNECTIONS * 2 }, one));
  }

  return {
    /** Registers every host, and has each pinged once. */
    async register(hosts: readonly LoadHost[], limits: object): Promise<void> {
      await inTurn(hosts, ({ name, address, token, tls }) =>
        call('PUT', `/v1/hosts/${name}`, { address, token, tls, ...limits }),
      );
      await inTurn(hosts, ({ name }) => call('POST', `/v1/hosts/${name}:check`, {}));
    },
    /** One job for each host named, in this order. @param command as the simulated agents understand it */
    submit: (hosts: readonly string[], command = 'true') =>
      inTurn(hosts, (host) => call('POST', '/v1/jobs', { target_server: host, command })),
    /** Nothing is started until `open`, which tells when it was opened. */
    gate: {
      async close(): Promise<void> {
        await dispatch.pause();
        // Who is at a host by then hears of its new jobs, and would start them.
        const isLeft = async () => (await dispatch.getActiveCount()) === 0;
        await until(isLeft, { timeoutMs: 60_000, what: 'the looks under way' });
      },
      async open(): Promise<number> {
        // The checks have had every host asked about once: not what is measured here.
        const isQuiet = async () => (await polls.getJobCountByTypes('waiting', 'active')) === 0;
        await until(isQuiet, { timeoutMs: 60_000, what: 'the polls that the checks asked for' });
        const at = performance.timeOrigin + performance.now();
        await dispatch.resume();
        return at;
      },
    },
    /** How many records are in this state. */
    inState: (state: string) => redis.zcard(KEYS.jobsByState(state)),
    async close(): Promise<void> {
      await Promise.all([dispatch.close(), polls.close()]);
      redis.disconnect();
      await pool.close();
    },
  };
}
