import { afterAll, beforeAll, expect, test } from 'vitest';
import { startTestApi, type TestApi } from '../helpers/api.ts';
import { startRedis, type TestRedis } from '../helpers/redis.ts';

let redis: TestRedis;
let api: TestApi;
let token: string;

beforeAll(async () => {
  redis = await startRedis();
  api = await startTestApi(redis.url);
  token = await api.key('lister', { scopes: ['jobs:submit', 'jobs:read', 'jobs:cancel'] });
  for (const name of ['web1', 'web2']) {
    await api.hosts.put(name, { address: `127.0.0.1:${name.at(-1)}`, token: 'agent-token' });
  }
  for (let i = 0; i < 25; i++) {
    const body = {
      target_server: `web${1 + (i % 2)}`,
      command: 'true',
      labels: { dag_id: `dag:${i % 5}`, run: `${i}` },
    };
    await api.call('POST', '/v1/jobs', { body, ...(i % 3 === 0 && { token }) });
  }
});
afterAll(async () => {
  await api.stop();
  await redis.stop();
});

interface Page {
  items: { id: string; host: string; state: string; labels: Record<string, string>; created_by: string }[];
  next_page_token: string | null;
}

async function list(query: string, as?: string): Promise<Page> {
  const reply = await api.call('GET', `/v1/jobs?${query}`, { ...(as && { token: as }) });
  expect(reply.status, reply.text).toBe(200);
  return reply.body as unknown as Page;
}

async function all(query: string, as?: string) {
  const items: Page['items'] = [];
  for (let token: string | null = ''; token !== null; ) {
    const page: Page = await list(`${query}${token && `&page_token=${token}`}`, as);
    items.push(...page.items);
    token = page.next_page_token;
  }
  return items;
}

test('pages of seven show every job once, the newest first', async () => {
  const ids = (await all('page_size=7')).map(({ id }) => id);
  expect(ids).toHaveLength(25);
  expect(ids).toEqual([...new Set(ids)].sort().reverse());
});

test('a key sees its own jobs only', async () => {
  const jobs = await all('page_size=4', token);
  expect(jobs).toHaveLength(9);
  expect(new Set(jobs.map(({ created_by }) => created_by))).toEqual(new Set(['lister']));
});

test.each([
  ['target_server=web1', 13],
  ['target_server=127.0.0.1:2', 12],
  ['target_server=nobody', 0],
  ['label=dag_id:dag:3', 5],
  ['label=dag_id:dag:3&label=run:8', 1],
  ['state=queued', 25],
  ['state=running', 0],
  ['state=queued,running&state=lost', 25],
  ['created_after=2020-01-01T00:00:00Z', 25],
  ['created_before=2020-01-01T00:00:00Z', 0],
  ['created_after=2020-01-01T02:00:00%2B02:00&target_server=web2', 12],
])('%s finds %i', async (query, count) => {
  expect(await all(query)).toHaveLength(count);
});

test('a page token is good for its own list only', async () => {
  const { next_page_token } = await list('page_size=5&state=queued');
  const other = await api.call('GET', `/v1/jobs?page_size=5&page_token=${next_page_token}`);
  expect(other.body).toMatchObject({ status: 400, code: 'invalid_page_token', field: 'page_token' });
  const others = await api.call('GET', `/v1/jobs?page_size=5&state=queued&page_token=${next_page_token}`, {
    token,
  });
  expect(others.body.code).toBe('invalid_page_token');
  await list(`page_size=9&state=queued&page_token=${next_page_token}`);
});

test(':cancel by filter lists first, then cancels in pages, and only what its key may see', async () => {
  const cancel = async (more: object) => {
    const body = { label: ['dag_id:dag:0'], page_size: 1, ...more };
    const reply = await api.call('POST', '/v1/jobs:cancel', { body, token });
    expect(reply.status, reply.text).toBe(200);
    return reply.body as unknown as {
      items: { id: string; result: string }[];
      next_page_token: string | null;
    };
  };
  const listed = await cancel({ dry_run: true });
  expect(listed.items).toMatchObject([{ result: 'would_cancel', state: 'queued' }]);

  const canceled: string[] = [];
  let page = await cancel({});
  for (;;) {
    expect(page.items.every(({ result }) => result === 'canceled')).toBe(true);
    canceled.push(...page.items.map(({ id }) => id));
    if (page.next_page_token === null) break;
    page = await cancel({ page_token: page.next_page_token });
  }
  expect(canceled).toHaveLength(2);
  const left = await all('label=dag_id:dag:0');
  expect(
    left
      .filter(({ state }) => state === 'canceled')
      .map(({ id }) => id)
      .sort(),
  ).toEqual(canceled.sort());
});

test('cancel of a waiting job is done at once, and a second one replies 409', async () => {
  const [job] = await all('state=queued&page_size=1');
  const first = await api.call('POST', `/v1/jobs/${job?.id}:cancel`, { body: { reason: 'not needed' } });
  expect(first.body).toMatchObject({
    state: 'canceled',
    canceled_by: 'admin',
    outcome: { message: 'not needed' },
  });
  const second = await api.call('POST', `/v1/jobs/${job?.id}:cancel`);
  expect(second.body).toMatchObject({ status: 409, code: 'job_is_over' });
  const { body } = await api.call('GET', `/v1/jobs/${job?.id}/events`);
  expect(body).toMatchObject({
    items: [
      { version: 1, state: 'queued', at: expect.stringMatching(/Z$/) },
      { version: 2, state: 'canceled' },
    ],
    next_page_token: null,
  });
});
