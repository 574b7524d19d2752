import { afterAll, beforeAll, expect, test } from 'vitest';
import { ADMIN_TOKEN, startTestApi, type TestApi } from '../helpers/api.ts';
import { followEvents } from '../helpers/event-stream.ts';
import { startRedis, type TestRedis } from '../helpers/redis.ts';
import { until } from '../helpers/until.ts';

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

async function newJob(token = ADMIN_TOKEN): Promise<string> {
  const body = { target_server: 'web1', command: 'true' };
  return String((await api.call('POST', '/v1/jobs', { body, token })).body.id);
}

/** Follows all changes until `close`; what came is in `seen`. */
const listen = ({ token = ADMIN_TOKEN, from }: { token?: string; from?: string } = {}) =>
  followEvents(api.url, token, from);

test('a stream tells changes as they happen, and nothing from before', async () => {
  const old = await newJob();
  const stream = await listen();
  const id = await newJob();
  expect(await stream.has(id)).toMatchObject({
    event: 'job.queued',
    data: { id, version: 1, state: 'queued', host: 'web1', owner: 'admin' },
  });
  await api.call('POST', `/v1/jobs/${id}:cancel`);
  await until(() => stream.seen.some(({ event }) => event === 'job.canceled'));
  expect(stream.seen.some(({ data }) => data.id === old)).toBe(false);
  await stream.close();
});

test('Last-Event-ID resumes after that event, with none missing and none twice', async () => {
  const first = await listen();
  const ids = [await newJob()];
  const { id: place } = await first.has(ids[0]!);
  await first.close();
  for (let i = 0; i < 20; i++) ids.push(await newJob());

  const second = await listen({ from: place });
  const while_catching_up = Array.from({ length: 20 }, () => newJob());
  ids.push(...(await Promise.all(while_catching_up)));
  await until(() => second.seen.length >= 40);
  const told = second.seen.map(({ data }) => data.id);
  expect(told.sort()).toEqual(ids.slice(1).sort());
  await second.close();
});

test('a key hears of its own jobs only', async () => {
  const token = await api.key('listener', { scopes: ['jobs:read', 'jobs:submit'] });
  const stream = await listen({ token });
  const [others, own] = [await newJob(), await newJob(token)];
  await stream.has(own);
  expect(stream.seen.some(({ data }) => data.id === others)).toBe(false);
  await stream.close();
});

test('a stream goes on when Redis was killed meanwhile', async () => {
  const stream = await listen();
  await redis.restart();
  await until(async () => (await api.redis.ping().catch(() => '')) === 'PONG');
  await stream.has(await until(() => newJob().then((id) => (id.startsWith('job_') ? id : null))));
  await stream.close();
});

test('a place that is none is refused', async () => {
  const { status, body } = await api.call('GET', '/v1/events', { headers: { 'last-event-id': 'x' } });
  expect([status, body.code]).toEqual([400, 'invalid_request']);
});

test('a closing server ends its streams', async () => {
  const closing = await startTestApi(redis.url);
  const response = await fetch(`${closing.url}/v1/events`, {
    headers: { authorization: `Bearer ${ADMIN_TOKEN}` },
  });
  const text = response.text();
  const began = performance.now();
  await closing.stop();
  expect(await text).toBe(': open\n\n');
  expect(performance.now() - began).toBeLessThan(10_000);
});

test('a stream tells the events of batches, to their owner, and no change that is only of their counts', async () => {
  const token = await api.key('another', { scopes: ['jobs:read', 'jobs:submit'] });
  const [stream, others] = [await listen(), await listen({ token })];
  const { body } = await api.call('POST', '/v1/batches', { body: { targets: ['web1'], command: 'true' } });
  const id = String(body.id);
  expect(await stream.has(id)).toMatchObject({ event: 'batch.running' });
  await api.call('POST', `/v1/batches/${id}:pause`);
  await until(() => stream.seen.some(({ event }) => event === 'batch.paused'));
  const told = stream.seen.filter((one) => one.data.id === id);
  expect(told.map(({ event, data }) => [event, data])).toEqual([
    ['batch.running', { id, version: 1, state: 'running', owner: 'admin' }],
    ['batch.paused', { id, version: expect.any(Number), state: 'paused', owner: 'admin' }],
  ]);
  const own = await newJob(token);
  await others.has(own);
  expect(others.seen.some(({ data }) => data.id === id)).toBe(false);
  await stream.close();
  await others.close();
});
