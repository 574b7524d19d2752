/** `unique_key` and `on_duplicate`, as callers see them. */
import { afterAll, beforeAll, beforeEach, expect, test } from 'vitest';
import type { Change } from '../../src/job/move.ts';
import { outcome } from '../../src/job/outcome.ts';
import type { Job } from '../../src/job/record.ts';
import type { State } from '../../src/job/states.ts';
import { type CallOptions, startTestApi, type TestApi } from '../helpers/api.ts';
import { startRedis, type TestRedis } from '../helpers/redis.ts';
import { until } from '../helpers/until.ts';

let redis: TestRedis;
let api: TestApi;
let unique_key: string;
let count = 0;

beforeAll(async () => {
  redis = await startRedis();
  api = await startTestApi(redis.url);
  await api.hosts.put('web1', { address: '127.0.0.1:1', token: 'agent-token' });
  await api.hosts.put('web2', { address: '127.0.0.1:2', token: 'agent-token' });
});
beforeEach(() => {
  unique_key = `key-${++count}`;
});
afterAll(async () => {
  await api?.stop();
  await redis?.stop();
});

const submit = (body: object = {}, options: Omit<CallOptions, 'body'> = {}) =>
  api.call('POST', '/v1/jobs', {
    body: { target_server: 'web1', command: 'true', unique_key, ...body },
    ...options,
  });
const read = async (id: unknown) => (await api.call('GET', `/v1/jobs/${id}`)).body;
async function move(id: unknown, to: State, change: Partial<Change> = {}): Promise<void> {
  const job = (await api.jobs.get(String(id))) as Job;
  expect(await api.jobs.transition(job, job.state, to as never, { why: 'test', ...change })).toBeTruthy();
}
async function run(id: unknown): Promise<void> {
  await move(id, 'dispatching', { attempt: 1, started_by: 'full' });
  await move(id, 'running', { next_poll_at: Date.now() });
}

test('a second job with the same unique_key is answered with the first, whatever its body', async () => {
  const first = await submit();
  expect(first.status).toBe(202);
  expect(first.body).toMatchObject({ unique_key });
  expect(first.body.attached).toBeUndefined();
  const second = await submit({ target_server: 'web2', command: 'false', on_duplicate: 'attach' });
  expect(second.status).toBe(202);
  expect(second.headers.get('location')).toBe(`/v1/jobs/${first.body.id}`);
  expect(second.body).toMatchObject({ id: first.body.id, host: 'web1', command: 'true', attached: true });
  expect((await read(first.body.id)).attached).toBeUndefined();
});

test('an attached caller can wait for the end of the job', async () => {
  const first = await submit();
  const waiting = submit({}, { headers: { prefer: 'wait=20' } });
  await run(first.body.id);
  await move(first.body.id, 'succeeded', { outcome: outcome('exit', { return_code: 0 }) });
  const { status, body } = await waiting;
  expect([status, body.id, body.state, body.attached]).toEqual([200, first.body.id, 'succeeded', true]);
});

test('reject names the job that holds the key', async () => {
  const first = await submit();
  const refused = await submit({ on_duplicate: 'reject' });
  expect(refused.status).toBe(409);
  expect(refused.body).toMatchObject({
    ...{ code: 'unique_key_in_use', field: 'unique_key', job_id: first.body.id },
    detail: `the unique_key is held by ${first.body.id}, which is queued`,
  });
});

test('replace cancels the job that holds the key, and the new one says what it waits for', async () => {
  const first = await submit();
  await run(first.body.id);
  const second = await submit({ target_server: 'web2', on_duplicate: 'replace' });
  expect(second.status).toBe(202);
  expect(second.body).toMatchObject({ state: 'queued', host: 'web2' });
  expect(await read(first.body.id)).toMatchObject({ state: 'canceling', canceled_by: 'admin' });

  const explained = await api.call('GET', `/v1/jobs/${second.body.id}/explain`);
  expect(explained.status, explained.text).toBe(200);
  expect(explained.body).toMatchObject({ waiting_for: 'replaced_job', eligible_at: null, position: null });
  expect(explained.body.message).toMatch(
    new RegExp(
      `^It replaces ${first.body.id}, which is canceling on web1 \\(since .*\\): this one starts once `,
    ),
  );
  await move(first.body.id, 'canceled', { outcome: outcome('canceled', { proof: 'cgroup' }) });
  await until(async () => {
    const { body } = await api.call('GET', `/v1/jobs/${second.body.id}/explain`);
    return body.waiting_for !== 'replaced_job';
  });
});

test('a chain of replacements leaves one that waits, and one to wait for', async () => {
  const first = await submit();
  await run(first.body.id);
  const second = await submit({ on_duplicate: 'replace' });
  const third = await submit({ on_duplicate: 'replace' });
  expect(await read(second.body.id)).toMatchObject({
    state: 'canceled',
    outcome: { message: `replaced by ${third.body.id}` },
  });
  expect((await submit({ on_duplicate: 'reject' })).body.job_id).toBe(third.body.id);
  expect((await read(third.body.id)).state).toBe('queued');
});

test('a lost job that may still run is what an attached caller gets, and what a replacement waits for', async () => {
  const first = await submit();
  await run(first.body.id);
  await move(first.body.id, 'lost', {
    outcome: outcome('silent', { message: 'silent' }),
    lost_at: Date.now(),
  });
  const attached = await submit();
  expect([attached.status, attached.body.state, attached.body.attached]).toEqual([200, 'lost', true]);
  const second = await submit({ on_duplicate: 'replace' });
  const { body } = await api.call('GET', `/v1/jobs/${second.body.id}/explain`);
  expect(body.message).toMatch(/which is lost: its cancel is owed to web1, and this one starts once /);
});

test('a repeated request is answered as the first time, also when the job is over by then', async () => {
  const headers = (key: string) => ({ headers: { 'idempotency-key': `"${unique_key}-${key}"` } });
  const first = await submit({}, headers('first'));
  const attached = await submit({}, headers('attached'));
  const replacing = await submit({ on_duplicate: 'replace' }, headers('replacing'));
  expect(await read(first.body.id)).toMatchObject({ state: 'canceled' });

  for (const [key, body, id, isAttached] of [
    ['first', {}, first.body.id, undefined],
    ['attached', {}, first.body.id, true],
    ['replacing', { on_duplicate: 'replace' }, replacing.body.id, undefined],
  ] as const) {
    const again = await submit(body, headers(key));
    expect(again.headers.get('idempotency-replayed')).toBe('true');
    expect([again.body.id, again.body.attached]).toEqual([id, isAttached]);
  }
  expect(attached.body).toMatchObject({ id: first.body.id, attached: true });
  expect((await read(replacing.body.id)).state).toBe('queued');
});

test('the keys of two callers are two, those of one name are one', async () => {
  const grants = { scopes: ['jobs:submit', 'jobs:read'] } as const;
  const [one, other] = [
    await api.key(`${unique_key}-a`, { ...grants, scopes: [...grants.scopes] }),
    await api.key(`${unique_key}-b`, { scopes: [...grants.scopes] }),
  ];
  const first = await submit({}, { token: one });
  expect((await submit({}, { token: other })).body.id).not.toBe(first.body.id);
  expect((await submit({}, { token: one })).body.id).toBe(first.body.id);
});

test('only who may cancel may replace', async () => {
  const token = await api.key(`${unique_key}-submitter`, { scopes: ['jobs:submit', 'jobs:read'] });
  const first = await submit({}, { token });
  const refused = await submit({ on_duplicate: 'replace' }, { token });
  expect([refused.status, refused.body.code, refused.body.field]).toEqual([403, 'forbidden', 'on_duplicate']);
  expect((await read(first.body.id)).state).toBe('queued');
});

test('of many callers at once one starts a job, and all get it', async () => {
  const replies = await Promise.all(Array.from({ length: 20 }, () => submit()));
  expect(new Set(replies.map(({ body }) => body.id)).size).toBe(1);
  expect(replies.filter(({ body }) => body.attached !== true)).toHaveLength(1);
});

test('the audit says what was attached, and what was replaced', async () => {
  const first = await submit();
  await submit();
  const second = await submit({ on_duplicate: 'replace' });
  const lines = api.log.map((line) => JSON.parse(line)).filter((line) => line.audit === true);
  const [attached, replacing] = lines.slice(-2);
  expect(attached).toMatchObject({ job: first.body.id, attached: true });
  expect(replacing).toMatchObject({ job: second.body.id, replaces: first.body.id });
});
