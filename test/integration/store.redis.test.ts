/** Connections over verified TLS, and what a server that was demoted does to one. */
import { rm } from 'node:fs/promises';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { parseRedisUrl, type RedisAddress } from '../../src/config/redis-url.ts';
import { loadConfig } from '../../src/config.ts';
import { connectForBlocking, connectOnce } from '../../src/store/redis.ts';
import { type BaseAgent, startBaseAgent } from '../helpers/base-agent.ts';
import { cleanEnvironment, runSluice } from '../helpers/gateway.ts';
import { startGatewayParts } from '../helpers/gateway-parts.ts';
import { freePort, redisServer } from '../helpers/redis.ts';
import { startRedisProcess } from '../helpers/redis-process.ts';
import { makeTlsFiles, startTlsRedis, type TlsFiles } from '../helpers/redis-tls.ts';
import { until } from '../helpers/until.ts';

type TlsRedis = Awaited<ReturnType<typeof startTlsRedis>>;

/** What the programs make of this environment. */
function addressOf(env: Record<string, string>): RedisAddress {
  const { redis } = loadConfig({}, env);
  if (!redis) throw new Error('no address');
  return redis;
}

/** What `sluice check --store` says of this Redis. */
async function checked(env: Record<string, string>): Promise<string> {
  const { stdout } = await runSluice(['check', '--store'], cleanEnvironment(env));
  return stdout.split('\n').find((line) => line.includes('Redis')) ?? '';
}

describe('over TLS', () => {
  let files: TlsFiles;
  let other: TlsFiles;
  let redis: TlsRedis;
  let mutual: TlsRedis;
  let agent: BaseAgent;
  const ca = () => ({ REDIS_URL: redis.url, SLUICE_REDIS_TLS_CA: files.ca });

  beforeAll(async () => {
    [files, other] = await Promise.all([makeTlsFiles(), makeTlsFiles()]);
    [redis, mutual, agent] = await Promise.all([
      startTlsRedis(files),
      startTlsRedis(files, 'yes'),
      startBaseAgent({ generation: 'C', rate: null }),
    ]);
  });
  afterAll(async () => {
    await agent?.close();
    await Promise.all([redis?.stop(), mutual?.stop()]);
    for (const made of [files, other]) await rm(made.dir, { recursive: true, force: true });
  });

  it('a gateway takes a job and runs it to its end', async () => {
    const gateway = await startGatewayParts(addressOf(ca()));
    try {
      const { address, token, fingerprint } = agent;
      await gateway.call('PUT', '/v1/hosts/web1', { address, token, tls: { fingerprint } });
      const job = { target_server: 'web1', command: 'echo over TLS', mode: 'sync' };
      const reply = await gateway.call('POST', '/v1/jobs', job, { prefer: 'wait=20' });
      expect(reply.body).toMatchObject({ state: 'succeeded', stdout: 'over TLS\n' });
    } finally {
      await gateway.close();
    }
  });

  it('a certificate of an authority that is not named is refused, with what to do', async () => {
    const line =
      `wrong  Redis: Redis at ${redis.url} does not answer: self-signed certificate in certificate chain; ` +
      'set SLUICE_REDIS_TLS_CA to the certificate of who signed it';
    expect(await checked({ REDIS_URL: redis.url })).toBe(line);
    expect(await checked({ ...ca(), SLUICE_REDIS_TLS_CA: other.ca })).toMatch(
      /^wrong .*certificate.*SLUICE_REDIS_TLS_CA/,
    );
  });

  it('no variable of Node turns that off', async () => {
    const env = { REDIS_URL: redis.url, NODE_TLS_REJECT_UNAUTHORIZED: '0' };
    expect(await checked(env)).toMatch(/^wrong .*self-signed certificate/);
  });

  it('a certificate for another name is refused', async () => {
    const url = redis.url.replace('127.0.0.1', 'localhost');
    expect(await checked({ ...ca(), REDIS_URL: url })).toMatch(/^wrong .*altnames/);
  });

  it('a server that wants to see a certificate is shown ours, and said to want one where we have none', async () => {
    const env = { ...ca(), REDIS_URL: mutual.url };
    expect(await checked(env)).toMatch(/^wrong .*set SLUICE_REDIS_TLS_CERT and SLUICE_REDIS_TLS_KEY/);
    const ours = { SLUICE_REDIS_TLS_CERT: files.clientCert, SLUICE_REDIS_TLS_KEY: files.clientKey };
    expect(await checked({ ...env, ...ours })).toMatch(/^ok /);
  });
});

it('a server that was demoted is left and asked for again, until it or its successor takes writes', async () => {
  const port = await freePort();
  const command = [...redisServer({ appendonly: false }), '--bind', '127.0.0.1', '--port', `${port}`];
  const server = await startRedisProcess(command, { host: '127.0.0.1', port });
  const address = parseRedisUrl(`redis://127.0.0.1:${port}`);
  const [client, operator] = [connectForBlocking(address, 'test'), connectOnce(address, 'operator')];
  try {
    await client.connect();
    await client.set('key', 'before');
    await operator.call('replicaof', '127.0.0.1', `${await freePort()}`);
    let left = 0;
    client.on('close', () => {
      left += 1;
    });
    const write = () => client.eval("return redis.call('SET', KEYS[1], ARGV[1])", 1, 'key', 'after');
    await expect(write()).rejects.toThrow(/^READONLY/);
    await until(() => left > 0, { what: 'the connection to be given up' });
    await operator.call('replicaof', 'no', 'one');
    expect(await until(() => write().catch(() => false))).toBe('OK');
  } finally {
    client.disconnect();
    operator.disconnect();
    await server.kill();
  }
});
