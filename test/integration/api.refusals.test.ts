import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { type CallOptions, startTestApi, type TestApi } from '../helpers/api.ts';
import { startRedis, type TestRedis } from '../helpers/redis.ts';

const SECRET = 'xK9-a-secret-that-must-not-be-seen';
const job = { target_server: 'web1', command: 'true' };
const other = 'job_01AAAAAAAAAAAAAAAAAAAAAAAA';

let redis: TestRedis;
let api: TestApi;
let stranger: string;
let reader: string;
let foreignJob: string;

beforeAll(async () => {
  redis = await startRedis();
  api = await startTestApi(redis.url);
  await api.hosts.put('web1', { address: '127.0.0.1:1', token: SECRET });
  await api.hosts.put('web2', { address: '127.0.0.1:2', token: SECRET });
  stranger = await api.key('stranger', {
    scopes: ['jobs:submit', 'jobs:read', 'jobs:cancel'],
    hosts: ['db*'],
  });
  reader = await api.key('reader', { scopes: ['jobs:read'] });
  const submitted = await api.call('POST', '/v1/jobs', { body: { ...job, env: { TOKEN: SECRET } } });
  foreignJob = String(submitted.body.id);
  // Their use is noted once a minute: not in the middle of the counting below.
  await api.call('GET', '/v1/jobs', { token: stranger });
  await api.call('GET', '/v1/jobs', { token: reader });
});
afterAll(async () => {
  await api.stop();
  await redis.stop();
});

interface Case {
  what: string;
  method?: string;
  path?: string | (() => string);
  body?: unknown;
  token?: () => string;
  headers?: Record<string, string>;
  status: number;
  code: string;
  field?: string;
}

const submitting = (what: string, more: object, status: number, code: string, field: string): Case => ({
  what,
  body: { ...job, ...more },
  status,
  code,
  field,
});
const bad = (what: string, more: object, field: string) =>
  submitting(what, more, 400, 'invalid_request', field);
const putting = (what: string, body: unknown, code: string, field: string, status = 400): Case => ({
  what,
  method: 'PUT',
  path: '/v1/hosts/web1',
  body,
  status,
  code,
  field,
});

const CASES: Case[] = [
  bad('a number as the command', { command: 5 }, 'command'),
  bad('null as the command', { command: null }, 'command'),
  bad('a list as the command', { command: ['true'] }, 'command'),
  bad('an empty command', { command: '' }, 'command'),
  bad('a command of blanks', { command: ' \n ' }, 'command'),
  bad('a command with a NUL', { command: 'echo a\0b' }, 'command'),
  bad('a command with half a surrogate pair', { command: 'echo \ud800' }, 'command'),
  bad('a command beyond 64 KiB in characters', { command: 'x'.repeat(65_537) }, 'command'),
  bad('a command beyond 64 KiB in bytes only', { command: 'é'.repeat(40_000) }, 'command'),
  bad('no target', { target_server: undefined }, 'target_server'),
  bad('an unknown mode', { mode: 'cron' }, 'mode'),
  bad('a user that is an option', { job_user: '-c' }, 'job_user'),
  bad('a user with a newline', { job_user: 'etl\nroot' }, 'job_user'),
  bad('a list as the environment', { env: ['A=b'] }, 'env'),
  bad('a number in the environment', { env: { A: 5 } }, 'env.A'),
  bad('an environment name with =', { env: { 'A=B': SECRET } }, 'env.A=B'),
  bad('an environment name with a digit first', { secret_env: { '1A': SECRET } }, 'secret_env.1A'),
  bad('an environment value with a NUL', { env: { A: `${SECRET}\0` } }, 'env.A'),
  bad('an environment beyond 32 KiB', { env: { A: SECRET.repeat(1_200) } }, 'env'),
  bad('a name in both environments', { env: { A: 'b' }, secret_env: { A: SECRET } }, 'secret_env.A'),
  bad('a fraction as the timeout', { timeout_seconds: 1.5 }, 'timeout_seconds'),
  bad('a text as the timeout', { timeout_seconds: '5' }, 'timeout_seconds'),
  bad('a negative timeout', { timeout_seconds: -1 }, 'timeout_seconds'),
  bad('a timeout beyond a year', { timeout_seconds: 1e10 }, 'timeout_seconds'),
  bad('no poll interval', { poll_interval: 0 }, 'poll_interval'),
  bad('a day as not_before', { not_before: '2030-01-01' }, 'not_before'),
  bad('a not_before that never comes in time', { not_before: '2999-01-01T00:00:00Z' }, 'not_before'),
  bad('a leap second that no clock has', { not_before: '2990-12-31T23:59:60Z' }, 'not_before'),
  bad('17 labels', { labels: Object.fromEntries([...Array(17).keys()].map((i) => [`l${i}`, ''])) }, 'labels'),
  bad('a label name with a colon', { labels: { 'a:b': 'c' } }, 'labels.a:b'),
  bad('a number as a label', { labels: { dag_id: 1 } }, 'labels.dag_id'),
  bad('a callback that is no address', { callback_url: 'not an address' }, 'callback_url'),
  bad('a priority above 9', { priority: 10 }, 'priority'),
  bad('a priority in words', { priority: 'high' }, 'priority'),
  bad('no priority at all', { priority: null }, 'priority'),
  bad('an unknown choice', { on_ambiguous_start: 'maybe' }, 'on_ambiguous_start'),
  submitting('an unknown field', { sate: 1 }, 400, 'unknown_field', 'sate'),
  submitting('a misspelt field', { command: undefined, comand: 'true' }, 400, 'unknown_field', 'comand'),
  submitting('a field of the record', { state: 'succeeded' }, 400, 'unknown_field', 'state'),
  submitting('an owner', { created_by: 'admin' }, 400, 'unknown_field', 'created_by'),
  bad('no attempt at all', { retry: { max_attempts: 0 } }, 'retry.max_attempts'),
  bad('attempts for ever', { retry: { max_attempts: 21 } }, 'retry.max_attempts'),
  bad(
    'a pause beyond an hour',
    { retry: { max_attempts: 2, backoff_seconds: 3_601 } },
    'retry.backoff_seconds',
  ),
  bad(
    'half a second as a pause',
    { retry: { max_attempts: 2, backoff_seconds: 0.5 } },
    'retry.backoff_seconds',
  ),
  bad('a retry after nothing', { retry: { max_attempts: 2, on: [] } }, 'retry.on'),
  bad('a retry after what no retry is for', { retry: { max_attempts: 2, on: ['silent'] } }, 'retry.on.0'),
  bad('a retry after a cancel', { retry: { max_attempts: 2, on: ['canceled'] } }, 'retry.on.0'),
  bad('a number as a retry', { retry: 2 }, 'retry'),
  submitting(
    'an unknown field of a retry',
    { retry: { attempts: 2 } },
    400,
    'unknown_field',
    'retry.attempts',
  ),
  bad('an empty unique key', { unique_key: '' }, 'unique_key'),
  bad('a unique key beyond 255 characters', { unique_key: 'k'.repeat(256) }, 'unique_key'),
  bad('a unique key that no text can hold', { unique_key: 'a\0b' }, 'unique_key'),
  bad('an unknown on_duplicate', { unique_key: 'k', on_duplicate: 'ignore' }, 'on_duplicate'),
  bad('an on_duplicate of nothing', { on_duplicate: 'attach' }, 'on_duplicate'),
  submitting('an unknown host', { target_server: 'nobody' }, 422, 'target_unknown', 'target_server'),
  submitting(
    'an unregistered address',
    { target_server: '10.1.2.3:18443' },
    422,
    'target_unknown',
    'target_server',
  ),
  submitting(
    'metadata as the target',
    { target_server: '169.254.169.254:80' },
    422,
    'target_unknown',
    'target_server',
  ),
  submitting('a path as the target', { target_server: '../web1' }, 422, 'target_unknown', 'target_server'),
  submitting(
    'a URL as the target',
    { target_server: 'https://web1/' },
    422,
    'target_unknown',
    'target_server',
  ),
  {
    what: 'a forbidden host',
    body: { ...job, job_user: 'etl' },
    token: () => stranger,
    status: 403,
    code: 'forbidden',
    field: 'target_server',
  },
  { what: 'no JSON', body: `{"command":"${SECRET}`, status: 400, code: 'invalid_json' },
  { what: 'an empty body', body: '', status: 400, code: 'invalid_request' },
  { what: 'a list as the body', body: [job], status: 400, code: 'invalid_request' },
  { what: 'null as the body', body: 'null', status: 400, code: 'invalid_request' },
  {
    what: 'deep nesting',
    body: '['.repeat(100_000) + ']'.repeat(100_000),
    status: 400,
    code: 'invalid_request',
  },
  { what: '__proto__', body: '{"__proto__":{"admin":true}}', status: 400, code: 'invalid_json' },
  {
    what: '__proto__ in the environment',
    body: '{"target_server":"web1","command":"true","env":{"__proto__":"x"}}',
    status: 400,
    code: 'invalid_json',
  },
  {
    what: 'bytes that are not UTF-8',
    body: Buffer.concat([
      Buffer.from('{"target_server":"web1","command":"echo '),
      Buffer.from([0xff, 0xfe]),
      Buffer.from('"}'),
    ]),
    status: 400,
    code: 'invalid_json',
  },
  { what: 'a huge body', body: `"${'x'.repeat(1_100_000)}"`, status: 413, code: 'body_too_large' },
  {
    what: 'a form',
    body: 'command=true',
    headers: { 'content-type': 'application/x-www-form-urlencoded' },
    status: 415,
    code: 'unsupported_media_type',
  },
  {
    what: 'another encoding',
    body: job,
    headers: { 'content-type': 'application/json; charset=latin1' },
    status: 415,
    code: 'unsupported_media_type',
  },
  {
    what: 'a compressed body',
    body: job,
    headers: { 'content-encoding': 'gzip' },
    status: 415,
    code: 'unsupported_media_type',
  },
  {
    what: 'a broken Idempotency-Key',
    body: job,
    headers: { 'idempotency-key': '"half' },
    status: 400,
    code: 'invalid_request',
    field: 'Idempotency-Key',
  },
  { what: 'no key', body: job, token: () => '', status: 401, code: 'unauthenticated' },
  { what: 'a wrong key', body: job, token: () => `slk_${SECRET}`, status: 401, code: 'unauthenticated' },
  { what: 'a key without the scope', body: job, token: () => reader, status: 403, code: 'forbidden' },
  {
    what: 'a key in the query',
    path: '/v1/jobs?api_key=an-admin-token-of-the-tests',
    body: job,
    token: () => '',
    status: 401,
    code: 'unauthenticated',
  },
  {
    what: 'no key and no such path',
    path: '/v1/nothing',
    token: () => '',
    status: 401,
    code: 'unauthenticated',
  },
  { what: 'no such path', method: 'GET', path: '/v1/nothing', status: 404, code: 'not_found' },
  { what: 'a wrong method', method: 'DELETE', path: '/v1/jobs', status: 405, code: 'method_not_allowed' },
  { what: 'an unknown job', method: 'GET', path: `/v1/jobs/${other}`, status: 404, code: 'not_found' },
  {
    what: 'a path in an id',
    method: 'GET',
    path: '/v1/jobs/..%2f..%2fhosts',
    status: 404,
    code: 'not_found',
  },
  {
    what: 'a key of Redis as an id',
    method: 'GET',
    path: '/v1/jobs/a:b:events',
    status: 404,
    code: 'not_found',
  },
  { what: 'a broken escape', method: 'GET', path: '/v1/jobs/%zz', status: 400, code: 'invalid_request' },
  {
    what: 'a long id',
    method: 'GET',
    path: `/v1/jobs/${'a'.repeat(900)}`,
    status: 414,
    code: 'uri_too_long',
  },
  {
    what: "another owner's job",
    method: 'GET',
    path: () => `/v1/jobs/${foreignJob}`,
    token: () => stranger,
    status: 404,
    code: 'not_found',
  },
  {
    what: "the logs of another owner's job",
    method: 'GET',
    path: () => `/v1/jobs/${foreignJob}/logs`,
    token: () => stranger,
    status: 404,
    code: 'not_found',
  },
  {
    what: "the events of another owner's job",
    method: 'GET',
    path: () => `/v1/jobs/${foreignJob}/events`,
    token: () => stranger,
    status: 404,
    code: 'not_found',
  },
  {
    what: "why another owner's job waits",
    method: 'GET',
    path: () => `/v1/jobs/${foreignJob}/explain`,
    token: () => stranger,
    status: 404,
    code: 'not_found',
  },
  {
    what: 'why an unknown job waits',
    method: 'GET',
    path: `/v1/jobs/${other}/explain`,
    status: 404,
    code: 'not_found',
  },
  {
    what: "cancel of another owner's job",
    path: () => `/v1/jobs/${foreignJob}:cancel`,
    token: () => stranger,
    status: 404,
    code: 'not_found',
  },
  {
    what: 'a signal that is a command',
    path: () => `/v1/jobs/${foreignJob}:cancel`,
    body: { signal: 'TERM; rm' },
    status: 400,
    code: 'invalid_request',
    field: 'signal',
  },
  {
    what: 'a signal that there is not',
    path: () => `/v1/jobs/${foreignJob}:cancel`,
    body: { signal: 'TREM' },
    status: 400,
    code: 'invalid_request',
    field: 'signal',
  },
  {
    what: 'a cancel of everything',
    path: '/v1/jobs:cancel',
    body: {},
    status: 400,
    code: 'invalid_request',
    field: 'state',
  },
  {
    what: 'an unknown state in a filter',
    method: 'GET',
    path: '/v1/jobs?state=done',
    status: 400,
    code: 'invalid_request',
    field: 'state',
  },
  {
    what: 'a label filter without a value',
    method: 'GET',
    path: '/v1/jobs?label=dag_id',
    status: 400,
    code: 'invalid_request',
    field: 'label.0',
  },
  {
    what: 'a page of a thousand',
    method: 'GET',
    path: '/v1/jobs?page_size=1000',
    status: 400,
    code: 'invalid_request',
    field: 'page_size',
  },
  {
    what: 'an unknown parameter',
    method: 'GET',
    path: '/v1/jobs?limit=5',
    status: 400,
    code: 'unknown_field',
    field: 'limit',
  },
  {
    what: 'a made-up page token',
    method: 'GET',
    path: '/v1/jobs?page_token=AAAA',
    status: 400,
    code: 'invalid_page_token',
    field: 'page_token',
  },
  {
    what: '1,001 jobs to wait for',
    path: '/v1/jobs:wait',
    body: { jobs: Array.from({ length: 1_001 }, () => ({ id: other })) },
    status: 400,
    code: 'invalid_request',
    field: 'jobs',
  },
  putting('a redirected token', { address: '127.0.0.1:9' }, 'token_required', 'token', 422),
  putting('a loosened certificate check', { tls: { insecure: true } }, 'token_required', 'token', 422),
  putting('an address in use', { address: '127.0.0.1:2', token: SECRET }, 'address_in_use', 'address', 409),
  putting('two kinds of tls', { tls: { insecure: true, pin: 'first_use' } }, 'invalid_request', 'tls'),
  putting('no kind of tls', { tls: {} }, 'invalid_request', 'tls'),
  putting('tls that is off a little', { tls: { insecure: false } }, 'invalid_request', 'tls.insecure'),
  putting('a URL as an address', { address: 'https://h:1', token: SECRET }, 'invalid_request', 'address'),
  putting('credentials in an address', { address: 'u@h:1', token: SECRET }, 'invalid_request', 'address'),
  putting('a short IPv4 address', { address: '127.1:80', token: SECRET }, 'invalid_request', 'address'),
  putting('a port too high', { address: 'h:65536', token: SECRET }, 'invalid_request', 'address'),
  putting('a token with a newline', { token: `${SECRET}\n` }, 'invalid_request', 'token'),
  putting('a rate in words', { rate: '100/60s' }, 'invalid_request', 'rate'),
  putting('a rate without a period', { rate: { limit: 1 } }, 'invalid_request', 'rate.period_seconds'),
  putting('a rate of nothing', { rate: { limit: 0, period_seconds: 60 } }, 'invalid_request', 'rate.limit'),
  putting('half a request', { rate: { limit: 0.5, period_seconds: 1 } }, 'invalid_request', 'rate.limit'),
  putting('no period', { rate: { limit: 1, period_seconds: 0 } }, 'invalid_request', 'rate.period_seconds'),
  putting(
    'a burst of none',
    { rate: { limit: 1, period_seconds: 60, burst: 0 } },
    'invalid_request',
    'rate.burst',
  ),
  putting(
    'a misspelt burst',
    { rate: { limit: 1, period_seconds: 1, brust: 1 } },
    'unknown_field',
    'rate.brust',
  ),
  putting('no jobs at all', { max_jobs: 0 }, 'invalid_request', 'max_jobs'),
  putting('a text as the job limit', { max_jobs: '5' }, 'invalid_request', 'max_jobs'),
  putting('no requests at all', { max_requests: 0 }, 'invalid_request', 'max_requests'),
  putting('a token by another name', { api_token: SECRET }, 'unknown_field', 'api_token'),
  {
    what: 'a host without a token',
    method: 'PUT',
    path: '/v1/hosts/new',
    body: { address: '127.0.0.1:7' },
    status: 400,
    code: 'invalid_request',
    field: 'token',
  },
  {
    what: 'a host name with a slash',
    method: 'PUT',
    path: '/v1/hosts/a%2fb',
    body: { address: '127.0.0.1:7', token: SECRET },
    status: 404,
    code: 'not_found',
  },
  {
    what: 'a host name beyond 253 characters',
    method: 'PUT',
    path: `/v1/hosts/${'a'.repeat(254)}`,
    body: { address: '127.0.0.1:7', token: SECRET },
    status: 400,
    code: 'invalid_request',
    field: 'name',
  },
  { what: 'an unknown host', method: 'GET', path: '/v1/hosts/nobody', status: 404, code: 'not_found' },
  { what: 'a check of an unknown host', path: '/v1/hosts/nobody:check', status: 404, code: 'not_found' },
];

test.each(CASES)(
  '$what: $status $code',
  async ({ method = 'POST', path = '/v1/jobs', status, code, field, ...rest }) => {
    const before = await everything();
    const options: CallOptions = { body: rest.body, ...(rest.headers && { headers: rest.headers }) };
    const token = rest.token?.();
    const target = typeof path === 'string' ? path : path();
    const reply = await api.call(method, target, { ...options, ...(token !== undefined && { token }) });

    expect(reply.status, reply.text).toBe(status);
    expect(reply.headers.get('content-type')).toContain('application/problem+json');
    expect(reply.body).toMatchObject({
      code,
      status,
      type: `/problems/${code}`,
      title: expect.any(String),
      detail: expect.any(String),
      instance: expect.any(String),
      request_id: reply.headers.get('x-request-id') ?? expect.any(String),
    });
    expect(reply.body.field).toBe(field);
    expect(reply.text).not.toContain(SECRET);
    expect(await everything()).toEqual(before);
  },
);

test('each refusal left one audit line that says who and why', () => {
  const refused = api.log.map((line) => JSON.parse(line)).filter((line) => line.decision === 'refused');
  expect(refused.length).toBeGreaterThanOrEqual(CASES.length);
  const last = refused.find((line) => line.code === 'token_required');
  expect(last).toMatchObject({
    audit: true,
    event: 'host.put',
    key: 'admin',
    address: '127.0.0.1',
    request_id: expect.stringMatching(/^req_/),
    route: '/v1/hosts/{name}',
    host: 'web1',
  });
});

test('no secret is in the log', () => {
  const log = api.log.join('');
  expect(log).not.toContain(SECRET);
  expect(log).not.toContain('an-admin-token-of-the-tests');
  expect(log).not.toContain(stranger);
});

test('no secret is in the files of Redis', async () => {
  await api.redis.bgrewriteaof();
  const texts = readdirSync(redis.dir, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .map((entry) => readFileSync(join(entry.parentPath, entry.name), 'latin1'));
  expect(texts.join('')).toContain(foreignJob);
  for (const secret of [SECRET, stranger, reader, 'an-admin-token-of-the-tests']) {
    expect(texts.join('')).not.toContain(secret);
  }
});

/** All keys and how long each is: nothing may have been added or changed. */
async function everything(): Promise<string[]> {
  const keys = (await api.redis.keys('*')).sort();
  const sizes = await Promise.all(keys.map((key) => api.redis.call('MEMORY', 'USAGE', key)));
  return keys.map((key, i) => `${key} ${sizes[i]}`);
}
