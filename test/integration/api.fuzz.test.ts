import fc from 'fast-check';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { startTestApi, type TestApi } from '../helpers/api.ts';
import { startRedis, type TestRedis } from '../helpers/redis.ts';

let redis: TestRedis;
let api: TestApi;

beforeAll(async () => {
  redis = await startRedis();
  api = await startTestApi(redis.url);
  await api.hosts.put('web1', { address: '127.0.0.1:1', token: 'agent-token' });
});
afterAll(async () => {
  await api.stop();
  await redis.stop();
});

const FIELDS = {
  '/v1/jobs': [
    ...['target_server', 'command', 'mode', 'job_user', 'env', 'secret_env', 'shell', 'workdir', 'labels'],
    ...['timeout_seconds', 'start_deadline_seconds', 'lost_after_seconds', 'poll_interval', 'not_before'],
    ...['on_ambiguous_start', 'leftovers', 'callback_url'],
  ],
  '/v1/jobs:wait': ['jobs', 'mode', 'timeout_seconds'],
  '/v1/jobs:cancel': ['state', 'target_server', 'label', 'created_after', 'signal', 'dry_run', 'page_token'],
  '/v1/hosts/web2': ['address', 'token', 'tls', 'max_requests', 'labels', 'allowed_users', 'launcher'],
} as const;

const someJson = fc.jsonValue({ maxDepth: 3, stringUnit: 'binary' });
const words = fc.constantFrom(
  'web1',
  'true',
  'sync',
  '',
  '\0',
  '\ud800',
  '127.0.0.1:1',
  '2030-01-01T00:00:00Z',
  'job_1',
);
const value = fc.oneof(
  someJson,
  words,
  fc.integer(),
  fc.array(words),
  fc.dictionary(words, fc.oneof(words, fc.integer())),
);

test.each(Object.entries(FIELDS))('whatever is sent to %s, it never fails for it', async (path, fields) => {
  const body = fc.oneof(
    someJson,
    fc
      .uniqueArray(fc.tuple(fc.constantFrom(...fields), value), { selector: ([name]) => name })
      .map(Object.fromEntries),
  );
  await fc.assert(
    fc.asyncProperty(body, async (sent) => {
      const harmless = path.endsWith(':wait') ? { timeout_seconds: 0 } : {};
      const whole =
        typeof sent === 'object' && !Array.isArray(sent) && sent ? { ...harmless, ...sent } : sent;
      const method = path.startsWith('/v1/hosts') ? 'PUT' : 'POST';
      const { status, body: reply } = await api.call(method, path, { body: JSON.stringify(whole) });
      expect(status, JSON.stringify(reply)).toBeLessThan(500);
      if (status >= 400) expect(reply.code).toEqual(expect.any(String));
    }),
    { numRuns: 150 },
  );
});

test('whatever a path or a query is, it never fails for it', async () => {
  const text = fc.string({ unit: 'binary-ascii', maxLength: 40 }).map(encodeURIComponent);
  await fc.assert(
    fc.asyncProperty(
      fc.constantFrom('jobs', 'hosts', 'webhooks', 'events/x'),
      text,
      text,
      async (what, id, query) => {
        const { status } = await api.call('GET', `/v1/${what}/${id}?${query}`);
        expect(status).toBeLessThan(500);
      },
    ),
    { numRuns: 200 },
  );
});
