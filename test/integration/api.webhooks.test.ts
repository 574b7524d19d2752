import { afterAll, beforeAll, beforeEach, expect, test } from 'vitest';
import { createAddressRules, createUrlCheck } from '../../src/net/addresses.ts';
import { startTestApi, type TestApi } from '../helpers/api.ts';
import {
  CALLBACK_SECRET,
  callbackId,
  createRig,
  deliveryOf,
  endJob,
  type Rig,
} from '../helpers/deliverer.ts';
import { OK, type Receiver, startReceiver } from '../helpers/receiver.ts';
import { startRedis, type TestRedis } from '../helpers/redis.ts';
import { openStores, type Stores } from '../helpers/stores.ts';

const URL = 'https://receiver.example/hook';
const SECRET = /^whsec_[A-Za-z0-9+/]{43}=$/;

let redis: TestRedis;
let api: TestApi;
let stores: Stores;
let rig: Rig;
let receiver: Receiver;
let alice: string;
let bob: string;

beforeAll(async () => {
  redis = await startRedis();
  const rules = createAddressRules({ allow: ['127.0.0.0/8'], deny: [] });
  api = await startTestApi(redis.url, {
    refuseCallback: createUrlCheck({
      rules,
      isAgentAddress: async (address) => address === '10.0.0.5:18443',
    }),
  });
  stores = await openStores(redis.url, { secret: Buffer.alloc(32, 7) });
  rig = createRig(stores, { pausesSeconds: [] });
  rig.deliverer.start();
  receiver = await startReceiver({ secrets: [CALLBACK_SECRET] });
  alice = await api.key('alice', { scopes: ['webhooks:write'] });
  bob = await api.key('bob', { scopes: ['webhooks:write'] });
});
afterAll(async () => {
  await receiver.stop();
  await rig.stop();
  await stores.close();
  await api.stop();
  await redis.stop();
});

beforeEach(async () => {
  for (const { id } of await rig.endpoints.list()) await rig.endpoints.remove(id);
  receiver.received.length = 0;
  receiver.mode = OK;
});

test('an endpoint is made with its secret, which no later reply and no line of the log carries', async () => {
  const made = await api.call('POST', '/v1/webhooks', {
    token: alice,
    body: { url: URL, labels: { dag: 'a' } },
  });
  expect(made.status).toBe(201);
  expect(made.body).toMatchObject({ url: URL, labels: { dag: 'a' }, created_by: 'alice', all_jobs: false });
  expect(made.body.secret).toMatch(SECRET);
  expect(made.body.events).toEqual(expect.arrayContaining(['job.succeeded', 'job.lost', 'job.recovered']));
  const path = `/v1/webhooks/${made.body.id}`;
  expect(made.headers.get('location')).toBe(path);
  const read = await api.call('GET', path, { token: alice });
  const { secret, ...rest } = made.body;
  expect(read.body).toEqual(rest);
  expect(api.log.join('\n')).not.toContain(secret);
  expect(await stores.redis.get(stores.keys.endpoint(String(made.body.id)))).not.toContain(secret);
});

test.each([
  ['a private field', { url: URL, secret: 'whsec_x' }, 'unknown_field'],
  ['no url', {}, 'invalid_request'],
  ['an unknown event', { url: URL, events: ['job.exploded'] }, 'invalid_request'],
  ['no events', { url: URL, events: [] }, 'invalid_request'],
  ['an address of metadata', { url: 'http://169.254.169.254/' }, 'callback_url_forbidden'],
  ['the address of an agent', { url: 'https://10.0.0.5:18443/' }, 'callback_url_forbidden'],
  ['a url with a password', { url: 'https://a:b@example.com/' }, 'callback_url_forbidden'],
  ['another scheme', { url: 'ftp://example.com/' }, 'callback_url_forbidden'],
])('%s is refused', async (_, body, code) => {
  const reply = await api.call('POST', '/v1/webhooks', { token: alice, body });
  expect(reply.body).toMatchObject({ code });
});

test('an endpoint is changed field by field, and disabled and taken into use again', async () => {
  const path = await create(alice);
  const patch = (body: object) => api.call('PATCH', path, { token: alice, body });
  expect((await patch({ events: ['job.failed'] })).body).toMatchObject({ url: URL, events: ['job.failed'] });
  expect((await patch({ url: 'http://169.254.169.254/' })).body).toMatchObject({
    code: 'callback_url_forbidden',
  });
  expect((await patch({ all_jobs: true })).body).toMatchObject({ code: 'unknown_field' });
  const disabled = await patch({ disabled: true });
  expect(disabled.body).toMatchObject({
    disabled_at: expect.any(String),
    disabled_reason: 'disabled by its owner',
  });
  expect((await patch({ disabled: false })).body).toMatchObject({ disabled_at: null, disabled_reason: null });
});

test('a rotation answers with the new secret, and says how long the old one signs', async () => {
  const path = await create(alice);
  const rotated = await api.call('POST', `${path}:rotate_secret`, { token: alice });
  expect(rotated.status).toBe(200);
  expect(rotated.body.secret).toMatch(SECRET);
  const until = Date.parse(String(rotated.body.old_secret_valid_until));
  expect(until - Date.now()).toBeGreaterThan(23 * 3_600_000);
});

test('an endpoint of somebody else is not found, whatever is asked of it; an admin finds it', async () => {
  const path = await create(alice);
  const asked: [string, string, object?][] = [
    ['GET', path],
    ['PATCH', path, { disabled: true }],
    ['DELETE', path],
    ['POST', `${path}:rotate_secret`],
    ['GET', `${path}/deliveries`],
    ['POST', `${path}/deliveries/msg_1:redeliver`],
  ];
  for (const [method, where, body] of asked) {
    expect(await api.call(method, where, { token: bob, ...(body && { body }) })).toMatchObject({
      status: 404,
      body: { code: 'not_found' },
    });
  }
  expect(await api.call('GET', path)).toMatchObject({ status: 200 });
  expect(await api.call('DELETE', path, { token: alice })).toMatchObject({ status: 204 });
  expect(await api.call('GET', path, { token: alice })).toMatchObject({ status: 404 });
});

test('a key without the scope is refused', async () => {
  const reader = await api.key('reader', { scopes: ['jobs:read'] });
  expect(await api.call('GET', '/v1/webhooks', { token: reader })).toMatchObject({ status: 403 });
});

test('the list shows its own to each key, and all to an admin, in pages', async () => {
  const mine = [await create(alice), await create(alice), await create(alice)];
  await create(bob);
  const first = await api.call('GET', '/v1/webhooks?page_size=2', { token: alice });
  const next = `page_size=2&page_token=${first.body.next_page_token}`;
  const second = await api.call('GET', `/v1/webhooks?${next}`, { token: alice });
  expect([...paths(first), ...paths(second)]).toEqual(mine);
  expect(second.body.next_page_token).toBeNull();
  expect(await api.call('GET', `/v1/webhooks?${next}`, { token: bob })).toMatchObject({
    body: { code: 'invalid_page_token' },
  });
  expect(paths(await api.call('GET', '/v1/webhooks'))).toHaveLength(4);
});

test('a dead delivery is read with its attempts and sent again', async () => {
  receiver.mode = { kind: 'status', status: 500, body: 'internal wiki page' };
  const path = await create(alice, receiver.url);
  const job = await endJob(stores, { created_by: 'alice' });
  await stores.wake.deliver();
  const id = `msg_${job.id}_${job.version}_${path.split('/').at(-1)}`;
  await deliveryOf(rig, id, { state: 'dead' });

  const dead = await api.call('GET', `${path}/deliveries?state=dead`, { token: alice });
  expect(dead.body.items).toMatchObject([
    {
      id,
      state: 'dead',
      job_id: job.id,
      type: 'job.canceled',
      attempts: [{ status: 500, error: 'http_status' }],
    },
  ]);
  expect(dead.text).not.toContain('internal wiki page');
  expect((await api.call('GET', `${path}/deliveries`)).text).toContain('internal wiki page');

  receiver.mode = OK;
  const again = await api.call('POST', `${path}/deliveries/${id}:redeliver`, { token: alice });
  expect(again).toMatchObject({ status: 202, body: { id, state: 'pending' } });
  await deliveryOf(rig, id, { state: 'delivered' });
  expect(receiver.received.map((one) => one.id)).toEqual([id, id]);
  expect(await api.call('GET', `${path}/deliveries?state=dead`, { token: alice })).toMatchObject({
    body: { items: [], next_page_token: null },
  });
});

test('callbacks are read and sent again by the owner of their jobs only', async () => {
  const job = await endJob(stores, { created_by: 'alice', callback_url: receiver.url });
  await stores.wake.deliver();
  const id = callbackId(job);
  await deliveryOf(rig, id, { state: 'delivered' });
  const list = '/v1/webhooks/callbacks/deliveries';
  const mine = await api.call('GET', list, { token: alice });
  expect(mine.body.items).toMatchObject([{ id, webhook_id: 'callbacks', state: 'delivered' }]);
  expect((await api.call('GET', list, { token: bob })).body.items).toEqual([]);
  expect(await api.call('POST', `${list}/${id}:redeliver`, { token: bob })).toMatchObject({ status: 404 });
  expect(await api.call('POST', `${list}/${id}:redeliver`, { token: alice })).toMatchObject({ status: 202 });
});

async function create(token: string, url = URL): Promise<string> {
  const made = await api.call('POST', '/v1/webhooks', { token, body: { url } });
  expect(made.status).toBe(201);
  return `/v1/webhooks/${made.body.id}`;
}

function paths({ body }: Awaited<ReturnType<TestApi['call']>>): string[] {
  return (body.items as { id: string }[]).map(({ id }) => `/v1/webhooks/${id}`);
}
