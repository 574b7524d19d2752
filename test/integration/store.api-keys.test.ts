import { afterAll, beforeAll, expect, test } from 'vitest';
import { parseRedisUrl } from '../../src/config/redis-url.ts';
import { type ApiKeyStore, createApiKeyStore, type Grants } from '../../src/store/api-keys.ts';
import { createKeys } from '../../src/store/keys.ts';
import { connectForRequests, type Redis } from '../../src/store/redis.ts';
import { createSealer } from '../../src/store/sealing.ts';
import { startRedis, type TestRedis } from '../helpers/redis.ts';
import { until } from '../helpers/until.ts';

const READER: Grants = { scopes: ['jobs:read'], hosts: ['web*'], users: ['etl'] };
const keys = createKeys('{sluice}');
const sealer = createSealer(Buffer.alloc(32, 1));

let server: TestRedis;
let redis: Redis;
let store: ApiKeyStore;

beforeAll(async () => {
  server = await startRedis();
  redis = connectForRequests(parseRedisUrl(server.url), 'test');
  await redis.connect();
  store = createApiKeyStore({
    redis,
    keys,
    sealer,
    cacheMs: 200,
    admin: { token: 'from-the-configuration' },
  });
});
afterAll(async () => {
  redis.disconnect();
  await server.stop();
});

test('a new key is good, and says what it may do', async () => {
  const { token, key } = await store.createKey('reader', READER);
  expect(await store.authenticate(token)).toMatchObject({ ...READER, name: 'reader', id: key.id });
});

test('neither the key nor its callback secret is in Redis', async () => {
  const { token, key, callbackSecret } = await store.createKey('kept', READER);
  const kept = JSON.stringify(await redis.hgetall(keys.apiKey(key.id)));
  expect(kept).not.toContain(token);
  expect(kept).not.toContain(token.split('_')[2]);
  expect(kept).not.toContain(callbackSecret);
  expect(await store.callbackSecret('kept')).toBe(callbackSecret);
});

test('a key under another pepper is not good', async () => {
  const other = createApiKeyStore({ redis, keys, sealer: createSealer(Buffer.alloc(32, 2)) });
  const { token } = await store.createKey('peppered', READER);
  expect(await other.authenticate(token)).toBeNull();
});

test('a revoked key is refused within the time that a good one is believed', async () => {
  const { token, key } = await store.createKey('fired', READER);
  const elsewhere = createApiKeyStore({ redis, keys, sealer, cacheMs: 200 });
  expect(await elsewhere.authenticate(token)).not.toBeNull();
  expect((await store.revokeKey('fired'))?.revoked_at).not.toBeNull();
  expect(await store.authenticate(token)).toBeNull();
  await until(async () => (await elsewhere.authenticate(token)) === null);
  expect((await store.revokeKey(key.id))?.id).toBe(key.id);
});

test('a name in use is refused, and a revoked name goes to its successor', async () => {
  await store.createKey('etl', READER);
  await expect(store.createKey('etl', READER)).rejects.toMatchObject({ code: 'invalid_request' });
  await store.revokeKey('etl');
  const second = await store.createKey('etl', READER);
  expect(await store.callbackSecret('etl')).toBe(second.callbackSecret);
});

test('of two makers of one name one wins', async () => {
  const both = await Promise.allSettled([store.createKey('race', READER), store.createKey('race', READER)]);
  expect(both.map(({ status }) => status).sort()).toEqual(['fulfilled', 'rejected']);
});

test('the key of the configuration is an admin that may do everything', async () => {
  const admin = await store.authenticate('from-the-configuration');
  expect(admin).toMatchObject({ name: 'admin', scopes: ['admin'], hosts: ['*'], users: ['*', null] });
  expect(await store.callbackSecret('admin')).toBeNull();
  await expect(store.createKey('admin', READER)).rejects.toMatchObject({ code: 'invalid_request' });
});

test.each([
  ['name', 'with space', READER],
  ['scopes', 'x', { ...READER, scopes: [] }],
  ['scopes', 'x', { ...READER, scopes: ['jobs:all' as 'admin'] }],
  ['hosts', 'x', { ...READER, hosts: ['web 1'] }],
  ['users', 'x', { ...READER, users: ['-rf'] }],
])('a bad %s is refused by name', async (field, name, grants) => {
  await expect(store.createKey(name, grants)).rejects.toMatchObject({
    code: 'invalid_request',
    fields: { field },
  });
});

test('lists show all keys with when they were used, and no secret', async () => {
  const { token, key } = await store.createKey('listed', READER);
  await store.authenticate(token);
  const listed = await until(async () => {
    const found = (await store.listKeys()).find(({ id }) => id === key.id);
    return found?.last_used_at ? found : null;
  });
  expect(Object.keys(listed)).not.toContain('digest');
});
