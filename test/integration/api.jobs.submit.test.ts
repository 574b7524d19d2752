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

const order = { target_server: 'web1', command: 'true' };

test('a job is accepted with 202 and can be read under its Location', async () => {
  const submitted = await api.call('POST', '/v1/jobs', { body: order });
  expect(submitted.status, JSON.stringify(submitted.body)).toBe(202);
  const read = await api.call('GET', submitted.headers.get('location') ?? '');
  expect(read.status).toBe(200);
  expect(read.body).toMatchObject({ id: submitted.body.id, state: 'queued', host: 'web1', version: 1 });
});
