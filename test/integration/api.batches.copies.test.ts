/** How large a batch may be, by what its jobs keep of it in Redis. */
import { afterAll, beforeAll, expect, test } from 'vitest';
import { startTestApi, type TestApi } from '../helpers/api.ts';
import { startRedis, type TestRedis } from '../helpers/redis.ts';

const KIB = 1_024;
/** Of 64 MiB each has a share of some 65 KiB. */
const HOSTS = 1_000;
const SHARE = Math.floor((64 * KIB * KIB) / HOSTS);

let redis: TestRedis;
let api: TestApi;

beforeAll(async () => {
  redis = await startRedis();
  api = await startTestApi(redis.url);
  const names = Array.from({ length: HOSTS }, (_, i) => `web${i + 1}`);
  const items = names.map((name) => ({ name, address: `${name}:18443`, token: 't' }));
  expect((await api.call('PUT', '/v1/hosts', { body: { items } })).status).toBe(200);
});
afterAll(async () => {
  await api?.stop();
  await redis?.stop();
});

const submit = (body: object, query = '') =>
  api.call('POST', `/v1/batches${query}`, { body: { targets: [`web[1-${HOSTS}]`], ...body } });
const commandOf = (bytes: number) => `true ${'#'.repeat(bytes - 5)}`;
/** Name and value together. */
const envOf = (bytes: number) => ({ A: 'x'.repeat(bytes - 1) });
const secretOf = (bytes: number) => ({ B: 'x'.repeat(bytes - 1) });

test('a batch whose copies come to more than 64 MiB is refused, and the largest field is named', async () => {
  const half = 30 * KIB;
  const refusals = [
    await submit({ command: commandOf(SHARE - half + 1), env: envOf(half) }),
    await submit({ command: commandOf(half), env: envOf(half + 1), secret_env: secretOf(half) }),
    await submit(
      { command: commandOf(half), env: envOf(half), secret_env: secretOf(half + 1) },
      '?dry_run=true',
    ),
  ];
  expect(refusals.map(({ status, body }) => [status, body.code, body.field])).toEqual([
    [400, 'invalid_request', 'command'],
    [400, 'invalid_request', 'env'],
    [400, 'invalid_request', 'secret_env'],
  ]);
  expect(refusals[0]?.body.detail).toContain(`${SHARE + 1} bytes`);
  expect(refusals[0]?.body.detail).toContain(`at most ${SHARE} `);
});

test('one whose copies come to 64 MiB is accepted, and so is a larger one for fewer hosts', async () => {
  const half = 30 * KIB;
  const full = await submit({ command: commandOf(SHARE - half), env: envOf(half) });
  expect(full.status, full.text).toBe(202);
  const fewer = { targets: ['web[1-100]'], env: envOf(32 * KIB), secret_env: secretOf(32 * KIB) };
  expect((await submit({ command: commandOf(64 * KIB), ...fewer })).status).toBe(202);
});
