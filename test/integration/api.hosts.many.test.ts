/** Many hosts at once: registered by a list, found by their labels. */
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { startTestApi, type TestApi } from '../helpers/api.ts';
import { startRedis, type TestRedis } from '../helpers/redis.ts';

let redis: TestRedis;
let api: TestApi;

beforeAll(async () => {
  redis = await startRedis();
  api = await startTestApi(redis.url);
});
afterAll(async () => {
  await api?.stop();
  await redis?.stop();
});

const putAll = (items: object[], token?: string) =>
  api.call('PUT', '/v1/hosts', { body: { items }, ...(token && { token }) });
const host = (name: string, more: object = {}) => ({ name, address: `${name}:18443`, token: 't', ...more });
async function namesWith(...labels: string[]): Promise<string[]> {
  const query = labels.map((label) => `label=${encodeURIComponent(label)}`).join('&');
  const names: string[] = [];
  for (let token = ''; ; ) {
    const { body } = await api.call('GET', `/v1/hosts?page_size=2&${query}${token}`);
    names.push(...(body.items as { name: string }[]).map(({ name }) => name));
    if (body.next_page_token === null) return names;
    token = `&page_token=${body.next_page_token}`;
  }
}

describe('a list of hosts', () => {
  it('registers them all, and changes those that are there', async () => {
    const first = await putAll([host('m1', { max_jobs: 3 }), host('m2'), host('m3')]);
    expect(first.status).toBe(200);
    expect(first.body.items).toMatchObject(['m1', 'm2', 'm3'].map((name) => ({ name, result: 'created' })));
    const second = await putAll([{ name: 'm1', max_requests: 2 }, host('m4')]);
    expect(second.body.items).toMatchObject([{ result: 'changed' }, { result: 'created' }]);
    const { body } = await api.call('GET', '/v1/hosts/m1');
    expect(body).toMatchObject({ max_requests: 2, max_jobs: 3, address: 'm1:18443' });
  });

  it('says of each host why it was refused, and registers the others', async () => {
    const { status, body } = await putAll([host('n1', { address: 'm2:18443' }), { name: 'n2' }, host('n3')]);
    expect(status).toBe(200);
    expect(body.items).toMatchObject([
      { name: 'n1', result: 'refused', code: 'address_in_use', field: 'address' },
      { name: 'n2', result: 'refused', code: 'invalid_request', field: 'address' },
      { name: 'n3', result: 'created', code: null },
    ]);
    expect((await api.call('GET', '/v1/hosts/n1')).status).toBe(404);
  });

  it.each([
    ['a field that is not known', [host('w1'), host('w2', { colour: 'red' })], 'items.1.colour'],
    ['an address that is none', [host('w1'), host('w2', { address: 'nowhere' })], 'items.1.address'],
    ['a tls with two ways', [host('w1', { tls: { insecure: true, pin: 'first_use' } })], 'items.0.tls'],
    ['a name that is there twice', [host('w1'), host('w2'), host('w1')], 'items.2.name'],
    ['no host', [], 'items'],
  ])('with %s is refused whole, and the field is named', async (_, items, field) => {
    const { status, body } = await putAll(items);
    expect([status, body.field]).toEqual([400, field]);
    expect((await api.call('GET', '/v1/hosts/w1')).status).toBe(404);
  });

  it('with hosts that the key may not use is refused whole, and names every one of them', async () => {
    const token = await api.key('webs', { scopes: ['hosts:write'], hosts: ['web*'] });
    const { status, body } = await putAll([host('web9'), host('db1'), host('db2')], token);
    expect([status, body.code, body.hosts]).toEqual([403, 'forbidden', ['db1', 'db2']]);
    expect((await api.call('GET', '/v1/hosts/web9')).status).toBe(404);
  });
});

describe('labels', () => {
  it('find the hosts that have all of them, page by page', async () => {
    const labels = { tier: 'db', dc: 'ams' };
    const many = Array.from({ length: 5 }, (_, i) => host(`l${i}`, { labels }));
    await putAll([...many, host('l5', { labels: { tier: 'db', dc: 'fra' } }), host('l6')]);
    expect(await namesWith('tier:db', 'dc:ams')).toEqual(['l0', 'l1', 'l2', 'l3', 'l4']);
    expect(await namesWith('dc:fra')).toEqual(['l5']);
    expect(await namesWith('dc:nowhere')).toEqual([]);
  });

  it('must be name:value', async () => {
    const { status, body } = await api.call('GET', '/v1/hosts?label=tier');
    expect([status, body.code]).toEqual([400, 'invalid_request']);
  });
});
