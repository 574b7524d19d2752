/**
 * Redis stays up and takes no writes: its memory is full, it was made a replica, its disk is full. A whole gateway on it,
 * with a job that runs meanwhile: callers hear 503 and nothing is half done, reads go on, the log says it once, and
 * everything goes on by itself.
 */
import { existsSync, writeFileSync } from 'node:fs';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Redis } from 'ioredis';
import { pino } from 'pino';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { parseRedisUrl } from '../../src/config/redis-url.ts';
import { createOutages } from '../../src/store/redis/outages.ts';
import { connectForRequests } from '../../src/store/redis.ts';
import { type GatewayParts, startGatewayParts } from '../helpers/gateway-parts.ts';
import { canMount, createOwnDisk, type OwnDisk } from '../helpers/own-disk.ts';
import { type RealAgent, startRealAgent } from '../helpers/real-agent.ts';
import { freePort, redisServer } from '../helpers/redis.ts';
import { type RedisProcess, startRedisProcess } from '../helpers/redis-process.ts';
import { until } from '../helpers/until.ts';

interface Line {
  level: number;
  msg: string;
  reason?: string;
  audit?: true;
  host?: string;
}

let disk: OwnDisk | null;
let dir: string;
let server: RedisProcess;
let admin: Redis;
let agent: RealAgent;
let gateway: GatewayParts;
const logs: Record<'api' | 'workers', Line[]> = { api: [], workers: [] };

beforeAll(async () => {
  dir = await mkdtemp(join(tmpdir(), 'sluice-outages-'));
  disk = canMount() ? createOwnDisk({ megabytes: 64 }) : null;
  const port = await freePort();
  const place = ['--port', `${port}`, '--bind', '127.0.0.1', '--dir', disk?.path ?? dir];
  server = await startRedisProcess([...redisServer(), ...place], { host: '127.0.0.1', port });
  admin = new Redis({ host: '127.0.0.1', port });
  agent = await startRealAgent();
  const keep = (lines: Line[]) =>
    pino({ level: 'debug' }, { write: (line: string) => void lines.push(JSON.parse(line) as Line) });
  gateway = await startGatewayParts(parseRedisUrl(`redis://127.0.0.1:${port}`), undefined, {
    api: keep(logs.api),
    workers: keep(logs.workers),
  });
  const { address, token, fingerprint } = agent;
  await gateway.call('PUT', '/v1/hosts/web1', { address, token, tls: { fingerprint } });
  await gateway.call('PUT', '/v1/hosts/idle', { address: '127.0.0.1:1', token });
  await gateway.call('POST', '/v1/hosts/idle:drain');
});
afterAll(async () => {
  await gateway?.close();
  await agent?.stop();
  admin?.disconnect();
  await server?.kill();
  disk?.remove();
  await rm(dir, { recursive: true, force: true });
});

interface Outage {
  begin(): Promise<unknown>;
  end(): Promise<unknown>;
  /** What callers hear of it. */
  detail: RegExp;
  /** Redis' word for it. */
  word: RegExp;
}

const FULL: Outage = {
  begin: () => admin.config('SET', 'maxmemory', '1mb'),
  end: () => admin.config('SET', 'maxmemory', '0'),
  detail: /its memory is full/,
  word: /^OOM/,
};
const REPLICA: Outage = {
  begin: () => admin.call('REPLICAOF', '127.0.0.1', '1'),
  end: () => admin.call('REPLICAOF', 'NO', 'ONE'),
  detail: /it is a replica/,
  // Or what is told to who waits for something there.
  word: /^(READONLY|UNBLOCKED)/,
};
const NO_DISK: Outage = {
  async begin() {
    disk?.fill();
    const fails = () =>
      admin.set('filler', 'x'.repeat(10_000)).then(
        () => false,
        () => true,
      );
    await until(fails);
  },
  async end() {
    disk?.free();
    await until(async () => (await admin.set('filler', '')) === 'OK');
  },
  detail: /it cannot write to its disk/,
  word: /^MISCONF/,
};

const WRITES: [string, string, object?][] = [
  ['POST', '/v1/jobs', { target_server: 'web1', command: 'touch ran' }],
  ['PUT', '/v1/hosts/new', { address: '127.0.0.1:2', token: 'token' }],
  ['PUT', '/v1/hosts/web1', { max_requests: 1 }],
  ['POST', '/v1/webhooks', { url: 'http://127.0.0.1:3/hook', events: ['job.failed'] }],
];

describe.each([
  ['a memory that is full', FULL],
  ['a Redis that was made a replica', REPLICA],
  ...(canMount() ? [['a disk that is full', NO_DISK] as [string, Outage]] : []),
])('%s', (_name, outage) => {
  it('refuses every write, changes nothing, and goes on by itself', async () => {
    const go = join(dir, `go ${Math.random()}`);
    const ran = join(dir, `ran ${Math.random()}`);
    const { call } = gateway;
    const submit = (command: string, key: string, host = 'web1') =>
      call(
        'POST',
        '/v1/jobs',
        { target_server: host, command, poll_interval: 1 },
        { 'idempotency-key': `"${key} ${outage.word.source}"` },
      );
    const read = async (path: string) =>
      (
        await until(async () => {
          const reply = await call('GET', path);
          return reply.status === 200 && reply;
        })
      ).body;
    const counts = async () => {
      const lists = await Promise.all(['/v1/jobs?page_size=500', '/v1/hosts', '/v1/webhooks'].map(read));
      return lists.map(({ items }) => (items as unknown[]).length);
    };

    const follows = `until [ -e '${go}' ]; do sleep 0.05; done; echo the end; exit 5`;
    const running = String((await submit(follows, 'running')).body.id);
    const waiting = String((await submit('true', 'waiting', 'idle')).body.id);
    await until(async () => (await read(`/v1/jobs/${running}`)).state === 'running');
    const before = await counts();
    const web1 = await read('/v1/hosts/web1');
    const heard = { api: logs.api.length, workers: logs.workers.length };

    await outage.begin();
    try {
      for (const [method, path, body] of WRITES) {
        const order = path === '/v1/jobs' ? { ...body, command: `touch '${ran}'` } : body;
        const reply = await fetch(gateway.url + path, {
          method,
          headers: { authorization: `Bearer ${gateway.key}`, 'content-type': 'application/json' },
          body: JSON.stringify(order),
        });
        const problem = (await reply.json()) as { code: string; detail: string };
        expect([path, reply.status, problem.code]).toEqual([path, 503, 'store_unavailable']);
        if (!problem.detail.includes('does not answer')) expect(problem.detail).toMatch(outage.detail);
        expect(Number(reply.headers.get('retry-after'))).toBeGreaterThan(0);
      }
      // A cancel may need no room: it is done as a whole, or not at all.
      const cancel = await call('POST', `/v1/jobs/${waiting}:cancel`);
      expect([200, 503]).toContain(cancel.status);
      const { state } = await read(`/v1/jobs/${waiting}`);
      expect(state).toBe(cancel.status === 200 ? 'canceled' : 'queued');
      expect(await counts()).toEqual(before);
      expect(await read('/v1/hosts/web1')).toMatchObject({ max_requests: web1.max_requests });
      expect(await read(`/v1/jobs/${running}/events`)).toBeDefined();
      await until(async () => {
        const { status, body } = await call('GET', '/readyz');
        return status === 503 && String(body.detail).length > 20;
      });
      // It ends while nobody can write that down.
      writeFileSync(go, '');
      const refusals = () =>
        logs.workers.slice(heard.workers).filter(({ level, reason, ...rest }) => {
          return level === 20 && outage.word.test(reason ?? (rest as { err?: Error }).err?.message ?? '');
        });
      await until(() => refusals().length >= 5, { what: 'the workers to try' });
    } finally {
      await outage.end();
    }

    const ended = await until(async () => {
      const { body } = await call('GET', `/v1/jobs/${running}`);
      return body.state === 'failed' && body;
    });
    expect(ended).toMatchObject({ return_code: 5, stdout_tail: 'the end\n', attempt: 1 });
    const taken = await until(async () => {
      const reply = await submit('echo goes on', 'after');
      return reply.status === 202 && reply.body;
    });
    expect(await read(`/v1/jobs/${taken.id}?wait=30`)).toMatchObject({ state: 'succeeded' });
    expect(existsSync(ran)).toBe(false);
    await until(async () => (await call('GET', '/readyz')).status === 200);
    for (const program of ['api', 'workers'] as const) {
      const lines = () => logs[program].slice(heard[program]);
      await until(() => lines().some(({ msg }) => msg === 'redis.back'), { what: `${program} to say so` });
      // What is told of a host that nobody listens at has nothing to do with it.
      const loud = lines().filter(({ level, audit, host }) => level >= 40 && !audit && host !== 'idle');
      expect(loud.map(({ msg }) => msg)).toEqual(['redis.outage']);
      expect(loud[0]?.reason).toMatch(outage.word);
    }
  });
});

it('takes what fails while its connections are closed for no outage', async () => {
  const told: string[] = [];
  const keep = pino({}, { write: (line: string) => void told.push((JSON.parse(line) as Line).msg) });
  const redis = connectForRequests(parseRedisUrl(`redis://127.0.0.1:${admin.options.port}`), 'test');
  await redis.connect();
  const outages = createOutages({ redis, key: 'probe', log: keep });
  outages.close();
  redis.disconnect();
  const error: unknown = await redis.set('key', '').catch((reason: unknown) => reason);
  expect([outages.noticed(error), error]).toEqual([true, expect.any(Error)]);
  expect(told).toEqual([]);
});
