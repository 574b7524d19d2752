import { afterAll, beforeAll, expect, test } from 'vitest';
import { SCOPES, type Scope } from '../../src/store/api-keys.ts';
import { startTestApi, type TestApi } from '../helpers/api.ts';
import { startRedis, type TestRedis } from '../helpers/redis.ts';

/** Every route that asks for a key, with its scope: a new route must be entered here. */
const ROUTES: [method: string, path: string, Scope][] = [
  ['post', '/v1/jobs', 'jobs:submit'],
  ['get', '/v1/jobs', 'jobs:read'],
  ['post', '/v1/jobs:wait', 'jobs:read'],
  ['post', '/v1/jobs:cancel', 'jobs:cancel'],
  ['post', '/v1/jobs:adopt', 'jobs:submit'],
  ['get', '/v1/jobs/{id}', 'jobs:read'],
  ['post', '/v1/jobs/{id}:cancel', 'jobs:cancel'],
  ['get', '/v1/jobs/{id}/logs', 'jobs:read'],
  ['get', '/v1/jobs/{id}/events', 'jobs:read'],
  ['get', '/v1/jobs/{id}/explain', 'jobs:read'],
  ['get', '/v1/events', 'jobs:read'],
  ['post', '/v1/batches', 'jobs:submit'],
  ['get', '/v1/batches', 'jobs:read'],
  ['get', '/v1/batches/{id}', 'jobs:read'],
  ['get', '/v1/batches/{id}/jobs', 'jobs:read'],
  ['get', '/v1/batches/{id}/output', 'jobs:read'],
  ['get', '/v1/batches/{id}/explain', 'jobs:read'],
  ['post', '/v1/batches/{id}:pause', 'jobs:submit'],
  ['post', '/v1/batches/{id}:resume', 'jobs:submit'],
  ['post', '/v1/batches/{id}:cancel', 'jobs:cancel'],
  ['post', '/v1/batches/{id}:retry', 'jobs:submit'],
  ['get', '/v1/hosts', 'hosts:read'],
  ['put', '/v1/hosts', 'hosts:write'],
  ['get', '/v1/hosts/{name}', 'hosts:read'],
  ['put', '/v1/hosts/{name}', 'hosts:write'],
  ['delete', '/v1/hosts/{name}', 'hosts:write'],
  ['post', '/v1/hosts/{name}:check', 'hosts:write'],
  ['post', '/v1/hosts/{name}:trust', 'hosts:write'],
  ['post', '/v1/hosts/{name}:drain', 'hosts:write'],
  ['post', '/v1/hosts/{name}:resume', 'hosts:write'],
  ['post', '/v1/webhooks', 'webhooks:write'],
  ['get', '/v1/webhooks', 'webhooks:write'],
  ['get', '/v1/webhooks/{id}', 'webhooks:write'],
  ['patch', '/v1/webhooks/{id}', 'webhooks:write'],
  ['delete', '/v1/webhooks/{id}', 'webhooks:write'],
  ['post', '/v1/webhooks/{id}:rotate_secret', 'webhooks:write'],
  ['get', '/v1/webhooks/{id}/deliveries', 'webhooks:write'],
  ['post', '/v1/webhooks/{id}/deliveries/{delivery}:redeliver', 'webhooks:write'],
];
/** Those that ask for none. */
const OPEN = ['/livez', '/readyz', '/metrics', '/problems/{code}'];

let redis: TestRedis;
let api: TestApi;
const tokens = new Map<Scope, string>();

beforeAll(async () => {
  redis = await startRedis();
  api = await startTestApi(redis.url);
  for (const scope of SCOPES)
    tokens.set(scope, await api.key(`only-${scope.replace(':', '.')}`, { scopes: [scope] }));
});
afterAll(async () => {
  await api.stop();
  await redis.stop();
});

test('the table has every route of the OpenAPI document, and no other', async () => {
  const { body } = await api.call('GET', '/openapi.json', { token: '' });
  const routes = Object.entries(body.paths as Record<string, object>).flatMap(([path, methods]) =>
    Object.keys(methods)
      .filter((method) => method !== 'head')
      .map((method) => `${method} ${path}`),
  );
  const known = [
    ...ROUTES.map(([method, path]) => `${method} ${path}`),
    ...OPEN.map((path) => `get ${path}`),
  ];
  expect(routes.sort()).toEqual(known.sort());
});

const request = (method: string, path: string, token: string) =>
  api.call(method.toUpperCase(), path.replaceAll(/\{\w+\}/g, 'x'), {
    token,
    ...(method !== 'get' && { body: {} }),
  });

test.each(ROUTES)('%s %s answers no one without a key', async (method, path) => {
  for (const token of ['', 'wrong', `slk_${'a'.repeat(8)}_${'b'.repeat(43)}_${'c'.repeat(6)}`]) {
    const { status, headers, body } = await request(method, path, token);
    expect(status).toBe(401);
    expect(body.code).toBe('unauthenticated');
    expect(headers.get('www-authenticate')).toContain('Bearer');
  }
});

test.each(ROUTES)('%s %s answers only keys with the scope %s', async (method, path, needed) => {
  for (const scope of SCOPES) {
    if (scope === needed || scope === 'admin') continue;
    const { status, body } = await request(method, path, tokens.get(scope) ?? '');
    expect(status, scope).toBe(403);
    expect(body.detail).toContain(needed);
  }
});

test.each(ROUTES)('%s %s lets keys with the scope %s through', async (method, path, needed) => {
  if (path === '/v1/events') return expectStream(tokens.get(needed) ?? '');
  for (const scope of [needed, 'admin'] as const) {
    const { status, text } = await request(method, path, tokens.get(scope) ?? '');
    expect([200, 204, 400, 404, 422], text).toContain(status);
  }
});

test('the key is accepted as X-Agent-Token too', async () => {
  const headers = { 'x-agent-token': tokens.get('jobs:read') ?? '' };
  expect((await api.call('GET', '/v1/jobs', { token: '', headers })).status).toBe(200);
  expect((await api.call('GET', '/v1/jobs', { token: 'wrong', headers })).status).toBe(401);
});

test('a revoked key is refused within moments', async () => {
  const token = await api.key('leaver', { scopes: ['jobs:read'] });
  expect((await api.call('GET', '/v1/jobs', { token })).status).toBe(200);
  await api.apiKeys.revokeKey('leaver');
  expect((await api.call('GET', '/v1/jobs', { token })).status).toBe(401);
});

test.each([...OPEN, '/openapi.json', '/docs/', '/docs/json'])('%s answers without a key', async (path) => {
  const { status } = await api.call('GET', path.replace('{code}', 'forbidden'), { token: '' });
  expect(status).toBe(200);
});

async function expectStream(token: string): Promise<void> {
  const response = await fetch(`${api.url}/v1/events`, { headers: { authorization: `Bearer ${token}` } });
  expect(response.headers.get('content-type')).toContain('text/event-stream');
  await response.body?.cancel();
}
