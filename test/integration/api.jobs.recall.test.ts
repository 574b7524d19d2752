/** The API remembers hosts between requests, and decides on none that another process has changed since. */
import { afterAll, beforeAll, expect, it } from 'vitest';
import { startTestApi, type TestApi } from '../helpers/api.ts';
import { startRedis, type TestRedis } from '../helpers/redis.ts';
import { openStores, type Stores } from '../helpers/stores.ts';

let redis: TestRedis;
let api: TestApi;
let elsewhere: Stores;

beforeAll(async () => {
  redis = await startRedis();
  api = await startTestApi(redis.url);
  elsewhere = await openStores(redis.url, { secret: Buffer.alloc(32, 7) });
});
afterAll(async () => {
  await elsewhere?.close();
  await api?.stop();
  await redis?.stop();
});

const submit = async (target_server: string) => {
  const { status, body } = await api.call('POST', '/v1/jobs', { body: { target_server, command: 'true' } });
  return { status, host: body.host, code: body.code };
};
const put = (name: string, patch: Parameters<Stores['hosts']['put']>[1] = {}) =>
  elsewhere.hosts.put(name, { address: '127.0.0.1:11', token: 'agent-token', ...patch });

it('a change of who may be run as holds for the next job, both ways', async () => {
  await put('web1');
  expect(await submit('web1')).toMatchObject({ status: 202 });
  await put('web1', { allowed_users: ['etl'] });
  expect((await submit('web1')).status).toBe(403);
  await put('web1', { allowed_users: null });
  expect(await submit('web1')).toMatchObject({ status: 202 });
});

it('a host that was removed takes no job, and a name that is given to an address wins', async () => {
  await put('web2', { address: '127.0.0.1:12' });
  expect(await submit('web2')).toMatchObject({ status: 202 });
  expect(await submit('127.0.0.1:12')).toMatchObject({ status: 202, host: 'web2' });
  await put('127.0.0.1:12', { address: '127.0.0.1:13' });
  expect(await submit('127.0.0.1:12')).toMatchObject({ status: 202, host: '127.0.0.1:12' });
  await put('web3', { address: '127.0.0.1:14' });
  expect(await elsewhere.hosts.remove('web3')).toBe(true);
  expect(await submit('web3')).toMatchObject({ code: 'target_unknown' });
});
