/** Through Sentinels: over TLS and with passwords, with somebody's own failover, and with nobody to ask. */
import { rm } from 'node:fs/promises';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { loadConfig } from '../../src/config.ts';
import { createFeed } from '../../src/store/feed.ts';
import { createKeys } from '../../src/store/keys.ts';
import { connectForBlocking, connectForRequests, type Redis } from '../../src/store/redis.ts';
import { cleanEnvironment, runSluice } from '../helpers/gateway.ts';
import { freePort } from '../helpers/redis.ts';
import { type SentinelRedis, startSentinelRedis } from '../helpers/redis-sentinel.ts';
import { makeTlsFiles, type TlsFiles } from '../helpers/redis-tls.ts';
import { until } from '../helpers/until.ts';

const PASSWORDS = { server: 'one@for/servers', sentinel: 'another:for?sentinels' };

let files: TlsFiles;
let redis: SentinelRedis;
let env: Record<string, string>;

beforeAll(async () => {
  files = await makeTlsFiles();
  redis = await startSentinelRedis({ sentinels: 2, downAfterMs: 1_000, tls: files, passwords: PASSWORDS });
  env = { REDIS_URL: redis.url, SLUICE_REDIS_TLS_CA: files.ca };
});
afterAll(async () => {
  await redis?.stop();
  await rm(files.dir, { recursive: true, force: true });
});

/** What `sluice check --store` says of Redis with this in the environment. */
async function checked(more: Record<string, string>): Promise<string> {
  const { stdout } = await runSluice(['check', '--store'], cleanEnvironment({ ...env, ...more }));
  const line = stdout.split('\n').find((text) => text.includes('Redis')) ?? '';
  for (const password of Object.values(PASSWORDS)) expect(line).not.toContain(encodeURIComponent(password));
  return line;
}

it('requests, what never gives up, and announcements go on after a failover that somebody asked for', async () => {
  const address = loadConfig({}, env).redis;
  if (!address) throw new Error('no address');
  const keys = createKeys('{sluice}');
  const [requests, blocking, subscriber] = [
    connectForRequests(address, 'test'),
    connectForBlocking(address, 'test'),
    connectForBlocking(address, 'test-feed'),
  ] as [Redis, Redis, Redis];
  const clients = [requests, blocking, subscriber];
  for (const client of clients) client.on('error', () => undefined);
  try {
    await Promise.all(clients.map((client) => client.connect()));
    const feed = await createFeed({ redis: blocking, subscriber, keys, hears: 'everything' });
    const heard: string[] = [];
    feed.onChange(({ id }) => heard.push(id));
    const primary = await redis.primaryPort();
    await redis.failOver();
    await redis.promoted(primary);
    const port = await redis.primaryPort();
    const isThere = ({ status, stream }: Redis) => status === 'ready' && stream.remotePort === port;
    await until(() => clients.every(isThere), { what: 'all connections to be to the new primary' });
    await blocking.set('key', 'value');
    expect(await requests.get('key')).toBe('value');
    await until(async () => {
      await requests.publish(keys.changes, JSON.stringify(['job_1', 2, 'running', 'h', 'me', 'job.running']));
      return heard.includes('job_1');
    });
  } finally {
    for (const client of clients) client.disconnect();
  }
});

it('a client that is told to leave while it asks for the primary finds it all the same', async () => {
  const address = loadConfig({}, env).redis;
  if (!address) throw new Error('no address');
  const client = connectForBlocking(address, 'test');
  client.on('error', () => undefined);
  try {
    await client.connect();
    let told = 0;
    client.on('connecting', () => {
      told += 1;
      client.disconnect(true);
    });
    client.disconnect(true);
    expect(await client.set('key', 'again')).toBe('OK');
    expect(told).toBeGreaterThan(0);
  } finally {
    client.disconnect();
  }
});

it('the right address, passwords and authority are enough', async () => {
  expect(await checked({})).toBe('ok     Redis: reachable, durable, and drops nothing');
});

it('a Sentinel that refuses the password is named', async () => {
  expect(await checked({ REDIS_URL: redis.url.replace('another', 'wrong') })).toMatch(
    /^wrong {2}Redis: Redis at rediss\+sentinel:\S+\/main does not answer: 127.0.0.1:\d+: WRONGPASS/,
  );
});

it('a server that refuses the password says so', async () => {
  expect(await checked({ REDIS_URL: redis.url.replace('one%40', 'wrong') })).toMatch(/answer: WRONGPASS/);
});

it('a Sentinel whose certificate is not trusted is refused, with what to do', async () => {
  expect(await checked({ SLUICE_REDIS_TLS_CA: '' })).toMatch(
    /127.0.0.1:\d+: self-signed certificate in certificate chain.*; set SLUICE_REDIS_TLS_CA/,
  );
});

it('Sentinels that are not there are named', async () => {
  const port = await freePort();
  expect(await checked({ REDIS_URL: `rediss+sentinel://127.0.0.1:${port}/main` })).toMatch(
    new RegExp(`answer: 127.0.0.1:${port}: connect ECONNREFUSED`),
  );
});

it('a name that no Sentinel knows is told', async () => {
  expect(await checked({ REDIS_URL: redis.url.replace('/main', '/other') })).toMatch(
    /answer: no Sentinel knows a primary named other;/,
  );
});
