import { decodeTime } from 'ulid';
import { afterAll, beforeAll, expect, test } from 'vitest';
import type { AgentFacts } from '../../src/job/host.ts';
import { createSealer, envPlace } from '../../src/store/sealing.ts';
import { type CallOptions, startTestApi, type TestApi } from '../helpers/api.ts';
import { startRedis, type TestRedis } from '../helpers/redis.ts';
import { until } from '../helpers/until.ts';

const BASE: AgentFacts = {
  kind: 'base',
  protocol: null,
  version: null,
  capabilities: [],
  boot_id: null,
  store_id: null,
  users: null,
  clock_skew_ms: 0,
  at: Date.now(),
};
const order = { target_server: 'web1', command: 'true' };

let redis: TestRedis;
let api: TestApi;

beforeAll(async () => {
  redis = await startRedis();
  api = await startTestApi(redis.url);
  await api.hosts.put('web1', { address: '127.0.0.1:1', token: 'agent-token' });
  await api.hosts.put('base', { address: '127.0.0.1:2', token: 'agent-token' });
  await api.hosts.contacted('base', BASE);
  await api.hosts.put('plain', { address: '127.0.0.1:3', token: 'agent-token', launcher: false });
  await api.hosts.contacted('plain', BASE);
  await api.hosts.put('full', { address: '127.0.0.1:4', token: 'agent-token' });
  const full = { ...BASE, kind: 'full' as const, capabilities: ['timeout', 'shell'], users: ['etl'] };
  await api.hosts.contacted('full', full);
  await api.hosts.put('etl-only', { address: '127.0.0.1:5', token: 'agent-token', allowed_users: ['etl'] });
});
afterAll(async () => {
  await api.stop();
  await redis.stop();
});

const submit = (body: object, options: Omit<CallOptions, 'body'> = {}) =>
  api.call('POST', '/v1/jobs', { body, ...options });

test('a job is accepted with 202 and can be read under its Location', async () => {
  const labels = { dag_id: 'load', 'run/id': 'a:b' };
  const submitted = await submit({ ...order, labels });
  expect(submitted.status, submitted.text).toBe(202);
  const read = await api.call('GET', submitted.headers.get('location') ?? '');
  expect(read.status).toBe(200);
  expect(read.body).toMatchObject({
    id: submitted.body.id,
    state: 'queued',
    host: 'web1',
    version: 1,
    mode: 'async',
    labels,
    created_by: 'admin',
    start_deadline_seconds: 604_800,
    lost_after_seconds: 86_400,
    poll_interval: 15,
  });
  expect(read.headers.get('etag')).toBe('"1"');
});

test('ids grow, and carry the time of acceptance', async () => {
  const ids = [];
  for (let i = 0; i < 20; i++) {
    const { body } = await submit(order);
    expect(decodeTime(String(body.id).slice(4))).toBe(Date.parse(String(body.created_at)));
    ids.push(String(body.id));
  }
  expect(ids).toEqual([...ids].sort());
});

test('the environment is sealed for its job, and in no reply', async () => {
  const env = { PATH: '/opt/secret-looking/bin' };
  const { body, text } = await submit({ ...order, env });
  expect(text).not.toContain('secret-looking');
  const job = await api.jobs.get(String(body.id));
  expect(job?.sealed_env).not.toContain('secret-looking');
  const sealer = createSealer(Buffer.alloc(32, 7));
  expect(JSON.parse(sealer.open(job?.sealed_env ?? '', envPlace(String(body.id))))).toEqual({ env });
});

test('a target may be the address of a registered host', async () => {
  const { body } = await submit({ ...order, target_server: '127.0.0.1:1' });
  expect(body).toMatchObject({ host: 'web1', target_server: '127.0.0.1:1' });
});

test('the trace of the caller is kept, and one that is none is left out', async () => {
  const traceparent = '00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01';
  expect((await submit(order, { headers: { traceparent } })).body.traceparent).toBe(traceparent);
  expect((await submit(order, { headers: { traceparent: 'nonsense' } })).body.traceparent).toBeNull();
});

test.each([
  ['"key-1"', '"key-1"'],
  ['bare-key-2', '"bare-key-2"'],
])('a repeated Idempotency-Key %s answers with the first job', async (first, second) => {
  const one = await submit(order, { headers: { 'idempotency-key': first } });
  const reordered = { command: order.command, mode: 'async', target_server: order.target_server };
  const two = await submit(reordered, { headers: { 'idempotency-key': second } });
  expect(one.headers.get('idempotency-replayed')).toBeNull();
  expect(two.headers.get('idempotency-replayed')).toBe('true');
  expect(two.body.id).toBe(one.body.id);
});

test('an Idempotency-Key with another body is refused', async () => {
  const headers = { 'idempotency-key': '"once"' };
  await submit(order, { headers });
  const other = await submit({ ...order, command: 'false' }, { headers });
  expect(other.status).toBe(422);
  expect(other.body).toMatchObject({ code: 'idempotency_key_reused', field: 'Idempotency-Key' });
});

test('an Idempotency-Key belongs to the name of the API key', async () => {
  const headers = { 'idempotency-key': '"mine"' };
  const token = await api.key('somebody', { scopes: ['jobs:submit'] });
  const one = await submit(order, { headers });
  const two = await submit(order, { headers, token });
  expect(two.status).toBe(202);
  expect(two.body.id).not.toBe(one.body.id);
});

test('twenty requests at once under one Idempotency-Key make one job', async () => {
  const headers = { 'idempotency-key': '"crowd"' };
  const replies = await Promise.all(Array.from({ length: 20 }, () => submit(order, { headers })));
  expect(new Set(replies.map(({ body }) => body.id)).size).toBe(1);
  expect(replies.filter((reply) => reply.headers.get('idempotency-replayed') === null)).toHaveLength(1);
});

test('Prefer: wait answers 200 when the job is over, and says how long it was ready to wait', async () => {
  const reply = submit({ ...order, labels: { waits: 'long' } }, { headers: { prefer: 'wait=100' } });
  const job = await labelled('waits', 'long');
  await api.jobs.transition(job, 'queued', 'canceled', { why: 'for the test' });
  const { status, body, headers } = await reply;
  expect(status).toBe(200);
  expect(body.state).toBe('canceled');
  expect(headers.get('preference-applied')).toBe('wait=60');
});

test('Prefer: wait answers 202 when the time has passed', async () => {
  const { status, headers } = await submit(order, { headers: { prefer: 'respond-async, wait=1' } });
  expect(status).toBe(202);
  expect(headers.get('preference-applied')).toBe('respond-async, wait=1');
});

test.each([
  ['secret_env', 'base', { secret_env: { A: 'b' } }],
  ['secret_env', 'plain', { secret_env: { A: 'b' } }],
  ['shell', 'plain', { shell: '/bin/sh' }],
  ['workdir', 'plain', { workdir: '/tmp' }],
  ['leftovers', 'plain', { leftovers: 'kill' }],
  ['workdir', 'full', { workdir: '/tmp' }],
  ['mode', 'full', { mode: 'tmux' }],
  ['job_user', 'full', { job_user: 'root' }],
])('%s is refused at once where the agent of %s is known not to do it', async (field, target, more) => {
  const { status, body } = await submit({ ...order, target_server: target, ...more });
  expect(status).toBe(422);
  expect(body).toMatchObject({ code: 'field_unsupported_by_agent', field });
});

test.each([
  ['base', { shell: '/bin/sh', workdir: '/tmp', leftovers: 'kill', timeout_seconds: 5, mode: 'tmux' }],
  ['full', { shell: '/bin/sh', timeout_seconds: 5, job_user: 'etl' }],
  ['web1', { secret_env: { A: 'b' }, workdir: '/tmp' }],
])('what the agent of %s can do, or may be able to do, is accepted', async (target, more) => {
  const { status, text } = await submit({ ...order, target_server: target, ...more });
  expect(status, text).toBe(202);
});

test('a key may use only its hosts and its users', async () => {
  const token = await api.key('narrow', { scopes: ['jobs:submit'], hosts: ['web*'], users: ['etl'] });
  const refused = async (body: object, field: string) => {
    const reply = await submit({ ...order, ...body }, { token });
    expect(reply.status).toBe(403);
    expect(reply.body).toMatchObject({ code: 'forbidden', field });
  };
  await refused({}, 'job_user');
  await refused({ job_user: 'root' }, 'job_user');
  await refused({ target_server: 'base', job_user: 'etl' }, 'target_server');
  expect((await submit({ ...order, job_user: 'etl' }, { token })).status).toBe(202);
});

test('a host decides whom it allows, whatever the key may do', async () => {
  const target = { ...order, target_server: 'etl-only' };
  expect((await submit(target)).body).toMatchObject({ code: 'forbidden', field: 'job_user' });
  expect((await submit({ ...target, job_user: 'etl' })).status).toBe(202);
});

test('a callback needs a secret that signs it', async () => {
  const token = await api.key('calls-back', { scopes: ['jobs:submit'] });
  const body = { ...order, callback_url: 'https://example.org/hook' };
  expect((await submit(body, { token })).status).toBe(202);
  const without = await startTestApi(redis.url, { refuseCallback: async () => 'it is link-local' });
  try {
    const refused = await without.call('POST', '/v1/jobs', { body });
    expect(refused.body).toMatchObject({ code: 'callback_url_forbidden', field: 'callback_url' });
  } finally {
    await without.stop();
  }
});

function labelled(name: string, value: string) {
  return until(async () => (await api.jobs.list({ label: { [name]: value } }, { size: 1 })).jobs[0]);
}
