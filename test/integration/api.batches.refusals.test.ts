/** What `POST /v1/batches` refuses, and with which words. */
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { startTestApi, type TestApi } from '../helpers/api.ts';
import { startRedis, type TestRedis } from '../helpers/redis.ts';

let redis: TestRedis;
let api: TestApi;

beforeAll(async () => {
  redis = await startRedis();
  api = await startTestApi(redis.url);
  const items = [1, 2, 3, 4].map((i) => ({
    ...{ name: `web${i}`, address: `192.0.2.${i}:18443`, token: 't' },
    labels: { tier: 'web' },
  }));
  expect((await api.call('PUT', '/v1/hosts', { body: { items } })).status).toBe(200);
});
afterAll(async () => {
  await api?.stop();
  await redis?.stop();
});

describe('refusals name the field, and every host', () => {
  it.each([
    [{ targets: ['web[1-9]'], command: 'true' }, 422, 'target_unknown', 'targets', 'web[5-9]'],
    [{ targets: ['web1'], exclude: ['wbe2'], command: 'true' }, 422, 'target_unknown', 'exclude', 'wbe2'],
    [{ targets: ['web[1-'], command: 'true' }, 400, 'invalid_request', 'targets', undefined],
    [{ targets: ['web[1-999999999]'], command: 'true' }, 400, 'invalid_request', 'targets', undefined],
    [{ command: 'true' }, 400, 'invalid_request', 'targets', undefined],
    [{ selector: { tier: 'none' }, command: 'true' }, 400, 'invalid_request', 'selector', undefined],
    [{ targets: ['web1'], command: 'true', waves: ['200%'] }, 400, 'invalid_request', 'waves.0', undefined],
    [
      { targets: ['web1'], command: 'true', max_parallel: 0 },
      400,
      'invalid_request',
      'max_parallel',
      undefined,
    ],
    [
      { targets: ['web1'], command: 'true', target_server: 'web1' },
      400,
      'unknown_field',
      'target_server',
      undefined,
    ],
    [{ targets: ['web1'], command: ' ' }, 400, 'invalid_request', 'command', undefined],
  ])('%j', async (body, status, code, field, unknown) => {
    const refused = await api.call('POST', '/v1/batches', { body });
    expect(refused).toMatchObject({ status, body: { code, field } });
    if (unknown !== undefined) expect(refused.body.unknown).toBe(unknown);
  });
});
