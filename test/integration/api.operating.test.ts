import { afterAll, beforeAll, expect, test } from 'vitest';
import { startTestApi, type TestApi } from '../helpers/api.ts';
import { startRedis, type TestRedis } from '../helpers/redis.ts';
import { until } from '../helpers/until.ts';

let redis: TestRedis;
let api: TestApi;
const order = { target_server: 'web1', command: 'true' };

beforeAll(async () => {
  redis = await startRedis();
  api = await startTestApi(redis.url);
  await api.hosts.put('web1', { address: '127.0.0.1:1', token: 'agent-token' });
});
afterAll(async () => {
  await api.stop();
  await redis.stop();
});

const open = (path: string) => api.call('GET', path, { token: '' });
const unready = () =>
  until(async () => {
    const reply = await open('/readyz');
    return reply.status === 503 ? reply : null;
  });
const ready = () => until(async () => (await open('/readyz')).status === 200);

test('a gateway on a fit Redis is alive and ready', async () => {
  expect((await open('/livez')).body).toEqual({ status: 'alive' });
  expect((await open('/readyz')).body).toEqual({ status: 'ready' });
});

test.each([
  ['appendonly', 'no', 'yes', /appendonly/],
  ['maxmemory-policy', 'allkeys-lru', 'noeviction', /noeviction/],
  ['maxmemory', '1100kb', '0', /maxmemory/],
])('with %s %s it is not ready, and says why', async (setting, wrong, right, why) => {
  await api.redis.config('SET', setting, wrong);
  const reply = await unready();
  expect(reply.body).toMatchObject({ code: 'store_unavailable', status: 503 });
  expect(reply.body.detail).toMatch(why);
  expect(reply.headers.get('retry-after')).not.toBeNull();
  await api.redis.config('SET', setting, right);
  await ready();
});

test('a full Redis refuses a job as not taken', async () => {
  await api.redis.config('SET', 'maxmemory', '100kb');
  const reply = await api.call('POST', '/v1/jobs', { body: order });
  expect(reply.status).toBe(503);
  expect(reply.body.code).toBe('store_unavailable');
  await api.redis.config('SET', 'maxmemory', '0');
});

test('metrics count requests by route and jobs by state', async () => {
  await api.call('POST', '/v1/jobs', { body: order });
  const { text } = await open('/metrics');
  expect(text).toMatch(/sluice_http_requests_total\{method="POST",route="\/v1\/jobs",status="202"\} \d/);
  expect(text).toMatch(/sluice_jobs\{state="queued"\} [1-9]/);
  expect(text).toMatch(/sluice_http_request_duration_seconds_bucket/);
});

test('paths that callers make up are no series of their own', async () => {
  for (let i = 0; i < 5; i++) await api.call('GET', `/v1/jobs/job_${i}/logs`);
  for (let i = 0; i < 5; i++) await api.call('GET', `/nothing/${i}`);
  const { text } = await open('/metrics');
  expect(text).toContain('route="/v1/jobs/{id}/logs"');
  expect(text).not.toContain('nothing');
});

test('the root leads to the documentation', async () => {
  const response = await fetch(api.url, { redirect: 'manual' });
  expect([response.status, response.headers.get('location')]).toEqual([302, '/docs']);
});

test('every field of every body and parameter is described in the OpenAPI document', async () => {
  const { body } = await open('/openapi.json');
  expect(body.openapi).toBe('3.1.0');
  const bare: string[] = [];
  for (const [path, methods] of Object.entries(body.paths as Record<string, Record<string, Operation>>)) {
    for (const [method, operation] of Object.entries(methods)) {
      if (!operation.summary) bare.push(`${method} ${path}`);
      const fields = operation.requestBody?.content['application/json']?.schema.properties ?? {};
      for (const [name, field] of Object.entries(fields))
        if (!field.description) bare.push(`${path} ${name}`);
      for (const { name, description } of operation.parameters ?? []) {
        if (!description) bare.push(`${path} ${name}`);
      }
    }
  }
  expect(bare).toEqual([]);
});

test('the meaning of a problem can be read under its type', async () => {
  const { body } = await api.call('GET', '/v1/jobs/job_none');
  expect((await open(String(body.type))).body).toMatchObject({
    code: 'not_found',
    status: 404,
    retry: 'never',
  });
  expect((await open('/problems/constructor')).status).toBe(404);
});

test('bytes that are no HTTP get a problem and a closed connection', async () => {
  const { connect } = await import('node:net');
  const socket = connect(Number(new URL(api.url).port), '127.0.0.1');
  socket.write('NONSENSE\r\n\r\n');
  const chunks = await socket.toArray();
  expect(Buffer.concat(chunks).toString()).toMatch(
    /^HTTP\/1\.1 400 [\s\S]*problem\+json[\s\S]*invalid_request/,
  );
});

test('without Redis it is alive, not ready, and says 503 with a time to come back', async () => {
  await redis.kill();
  try {
    expect((await open('/livez')).status).toBe(200);
    expect((await unready()).body.detail).toContain('does not answer');
    const read = await api.call('GET', '/v1/jobs');
    expect([read.status, read.body.code]).toEqual([503, 'store_unavailable']);
    const write = await api.call('POST', '/v1/jobs', { body: order });
    expect([write.status, write.body.code]).toEqual([503, 'store_unavailable']);
    expect(Number(write.headers.get('retry-after'))).toBeGreaterThan(0);
    expect((await open('/metrics')).status).toBe(200);
  } finally {
    await redis.restart();
  }
  await ready();
  expect((await api.call('POST', '/v1/jobs', { body: order })).status).toBe(202);
});

test('a Redis that stops while it is asked is a 503 that says the job may have been taken', async () => {
  await redis.kill('SIGSTOP');
  const key = { 'idempotency-key': '"stopped"' };
  const host = await api.call('PUT', '/v1/hosts/web9', {
    body: { address: '127.0.0.1:9', token: 'agent-token' },
    headers: key,
  });
  await redis.kill('SIGCONT');
  expect([host.status, host.body.code]).toEqual([503, 'not_acknowledged']);
  await ready();
});

interface Operation {
  summary?: string;
  parameters?: { name: string; description?: string }[];
  requestBody?: {
    content: Record<string, { schema: { properties?: Record<string, { description?: string }> } }>;
  };
}
