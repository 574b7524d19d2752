import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { request } from 'node:https';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { pino } from 'pino';
import { generate } from 'selfsigned';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { type ApiProgramDeps, startApi } from '../../src/api/main.ts';
import { parseRedisUrl } from '../../src/config/redis-url.ts';
import { mintToken } from '../../src/store/api-keys/token.ts';
import { createSealer } from '../../src/store/sealing.ts';
import { startRedis, type TestRedis } from '../helpers/redis.ts';

let redis: TestRedis;
const dir = mkdtempSync(join(tmpdir(), 'sluice-api-main-'));
const log: string[] = [];

beforeAll(async () => {
  redis = await startRedis();
});
afterAll(async () => {
  await redis.stop();
  rmSync(dir, { recursive: true });
});

const CONFIG: ApiProgramDeps['config'] = {
  prefix: '{sluice}',
  listen: { host: '127.0.0.1', port: 0 },
  tls: null,
  apiKey: 'the-admin',
  callbackSecret: null,
  crashAt: null,
  needs: { durability: 'everysec', ackReplicas: 0 },
  addressPatterns: [],
  webhooks: { allow: [], deny: [], scheduleSeconds: [], timeoutMs: 1_000 },
};

const start = (config: Partial<ApiProgramDeps['config']> = {}) =>
  startApi({
    config: { ...CONFIG, ...config },
    version: '1.2.3',
    redisAddress: parseRedisUrl(redis.url),
    sealer: createSealer(Buffer.alloc(32, 3)),
    log: pino({}, { write: (line: string) => void log.push(line) }),
  });

const headers = { authorization: 'Bearer the-admin', 'content-type': 'application/json' };

test('it listens, takes a job and an address of a callback that may not be called, and closes', async () => {
  const api = await start();
  await fetch(`${api.url}/v1/hosts/web1`, {
    method: 'PUT',
    headers,
    body: JSON.stringify({ address: '127.0.0.1:1', token: 't' }),
  });
  const submit = (more: object) =>
    fetch(`${api.url}/v1/jobs`, {
      method: 'POST',
      headers,
      body: JSON.stringify({ target_server: 'web1', command: 'true', ...more }),
    });
  expect((await submit({})).status).toBe(202);
  const metadata = await submit({ callback_url: 'http://169.254.169.254/latest' });
  expect(await metadata.json()).toMatchObject({ code: 'callback_url_forbidden', field: 'callback_url' });
  const unsigned = await submit({ callback_url: 'https://example.org/' });
  expect(await unsigned.json()).toMatchObject({ code: 'callback_secret_missing' });
  await api.close();
  await expect(fetch(api.url)).rejects.toThrow();
});

test('an issued key in SLUICE_API_KEY is no admin key', async () => {
  const { token } = mintToken();
  const api = await start({ apiKey: token });
  const reply = await fetch(`${api.url}/v1/hosts`, { headers: { authorization: `Bearer ${token}` } });
  expect(reply.status).toBe(401);
  expect(log.some((line) => line.includes('api.admin_key_ignored'))).toBe(true);
  await api.close();
});

test('a taken port is told, and nothing is left open', async () => {
  const first = await start();
  const port = Number(new URL(first.url).port);
  await expect(start({ listen: { host: '127.0.0.1', port } })).rejects.toMatchObject({ code: 'EADDRINUSE' });
  await first.close();
});

test('beyond loopback without TLS it says so loudly', async () => {
  log.length = 0;
  const api = await start({ listen: { host: '0.0.0.0', port: 0 } });
  expect(api.url).toMatch(/^http:\/\/127\.0\.0\.1:/);
  expect(log.filter((line) => line.includes('WITHOUT TLS')).map((line) => JSON.parse(line).level)).toEqual([
    40,
  ]);
  await api.close();
});

test('with a client CA it answers only callers that show a certificate of it', async () => {
  const server = await generate([{ name: 'commonName', value: 'localhost' }], { keyType: 'ec' });
  const client = await generate([{ name: 'commonName', value: 'caller' }], { keyType: 'ec' });
  const file = (name: string, text: string) => {
    writeFileSync(join(dir, name), text);
    return join(dir, name);
  };
  const tls = {
    certFile: file('cert.pem', server.cert),
    keyFile: file('key.pem', server.private),
    clientCaFile: file('ca.pem', client.cert),
  };
  const api = await start({ tls });
  expect(api.url).toMatch(/^https:/);
  const status = (identity: object) =>
    new Promise((resolve, reject) => {
      request(`${api.url}/livez`, {
        ca: server.cert,
        servername: 'localhost',
        checkServerIdentity: () => undefined,
        ...identity,
      })
        .on('response', (response) => resolve(response.resume().statusCode))
        .on('error', reject)
        .end();
    });
  expect(await status({ cert: client.cert, key: client.private })).toBe(200);
  await expect(status({})).rejects.toThrow();
  await api.close();
});
