import { afterAll, beforeAll, expect, test } from 'vitest';
import { startTestApi, type TestApi } from '../helpers/api.ts';
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

async function newJob(): Promise<string> {
  const { body } = await api.call('POST', '/v1/jobs', { body: { target_server: 'web1', command: 'true' } });
  return String(body.id);
}

async function end(id: string): Promise<void> {
  const job = await api.jobs.get(id);
  if (job) await api.jobs.transition(job, 'queued', 'canceled', { why: 'for the test' });
}

const held = async () =>
  Number(/^sluice_http_held_requests (\d+)/m.exec((await api.call('GET', '/metrics')).text)?.[1]);
const isHeld = (count = 1) => until(async () => (await held()) === count, { what: `${count} held requests` });
const commandsOfRedis = async () =>
  Number(/total_commands_processed:(\d+)/.exec(await api.redis.info('stats'))?.[1]);

test('GET with wait is held until the job is over', async () => {
  const id = await newJob();
  const reply = api.call('GET', `/v1/jobs/${id}?wait=30`);
  await isHeld();
  await end(id);
  expect((await reply).body).toMatchObject({ id, state: 'canceled', version: 2 });
});

test('a held request costs Redis nothing while it waits', async () => {
  const id = await newJob();
  const replies = Array.from({ length: 10 }, () => api.call('GET', `/v1/jobs/${id}?wait=30`));
  await until(async () => (await held()) === 10);
  const before = await commandsOfRedis();
  const quiet = performance.now() + 500;
  await until(() => performance.now() > quiet);
  // The two INFOs and the feed's own life signs.
  expect((await commandsOfRedis()) - before).toBeLessThan(10);
  await end(id);
  for (const { body } of await Promise.all(replies)) expect(body.state).toBe('canceled');
});

test('GET with since is held until the version is above it', async () => {
  const id = await newJob();
  expect((await api.call('GET', `/v1/jobs/${id}?wait=30&since=0`)).body.version).toBe(1);
  const reply = api.call('GET', `/v1/jobs/${id}?wait=30&since=1`);
  await isHeld();
  await end(id);
  expect((await reply).body.version).toBe(2);
  expect((await api.call('GET', `/v1/jobs/${id}?wait=30&since=2`)).body.version).toBe(2);
});

test('a wait that runs out answers with the job as it is', async () => {
  const id = await newJob();
  expect((await api.call('GET', `/v1/jobs/${id}?wait=1`)).body.state).toBe('queued');
});

test('an unchanged job answers 304 to its ETag', async () => {
  const id = await newJob();
  const { headers } = await api.call('GET', `/v1/jobs/${id}`);
  const again = await api.call('GET', `/v1/jobs/${id}`, {
    headers: { 'if-none-match': headers.get('etag') ?? '' },
  });
  expect([again.status, again.text]).toEqual([304, '']);
});

test('a change that is announced while the records are read is not missed', async () => {
  for (let i = 0; i < 30; i++) {
    const id = await newJob();
    const [reply] = await Promise.all([api.call('GET', `/v1/jobs/${id}?wait=20`), end(id)]);
    expect(reply.body.state).toBe('canceled');
  }
});

test('a wait goes on when Redis was killed meanwhile, and hears of what happened', async () => {
  const id = await newJob();
  const reply = api.call('GET', `/v1/jobs/${id}?wait=20`);
  await isHeld();
  await redis.restart();
  await until(async () => (await api.redis.ping().catch(() => '')) === 'PONG');
  await end(id);
  expect((await reply).body.state).toBe('canceled');
});

test(':wait any answers with the first that is over, and with the others as they are', async () => {
  const [one, two] = [await newJob(), await newJob()];
  const body = { jobs: [{ id: one }, { id: two }, { id: 'job_unknown' }], timeout_seconds: 30 };
  const reply = api.call('POST', '/v1/jobs:wait', { body });
  await isHeld();
  await end(two);
  expect((await reply).body).toMatchObject({
    ready: [{ id: two, state: 'canceled' }],
    pending: [{ id: one, state: 'queued', version: 1, stdout_bytes: null }],
    unknown: ['job_unknown'],
  });
});

test(':wait all answers when all are over', async () => {
  const ids = [await newJob(), await newJob()];
  const body = { jobs: ids.map((id) => ({ id })), mode: 'all', timeout_seconds: 30 };
  const reply = api.call('POST', '/v1/jobs:wait', { body });
  await isHeld();
  for (const id of ids) await end(id);
  expect((await reply).body).toMatchObject({ ready: [{ id: ids[0] }, { id: ids[1] }], pending: [] });
});

test(':wait answers at once where nothing can be waited for', async () => {
  const token = await api.key('waits-for-others', { scopes: ['jobs:read'] });
  const id = await newJob();
  const body = { jobs: [{ id }], timeout_seconds: 30 };
  expect((await api.call('POST', '/v1/jobs:wait', { body, token })).body).toEqual({
    ready: [],
    pending: [],
    unknown: [id],
  });
});

test(':wait takes a version above since as ready', async () => {
  const id = await newJob();
  const body = { jobs: [{ id, since: 0 }], timeout_seconds: 30 };
  expect((await api.call('POST', '/v1/jobs:wait', { body })).body).toMatchObject({ ready: [{ id }] });
});

test('a caller who goes away gives back its place', async () => {
  const id = await newJob();
  const gone = new AbortController();
  const reply = api.call('GET', `/v1/jobs/${id}?wait=60`, { signal: gone.signal });
  await isHeld();
  gone.abort();
  await expect(reply).rejects.toThrow();
  await isHeld(0);
});

test('more held requests than a key may have are refused, and a submission is not', async () => {
  const small = await startTestApi(redis.url, { holdLimits: { perKey: 2, total: 3 } });
  const gone = new AbortController();
  try {
    const id = await newJob();
    const wait = () => small.call('GET', `/v1/jobs/${id}?wait=60`, { signal: gone.signal }).catch(() => null);
    const waiting = [wait(), wait()];
    const refused = await until(async () => {
      const reply = await small.call('GET', `/v1/jobs/${id}?wait=1`);
      return reply.status === 503 ? reply : null;
    });
    expect(refused.body.code).toBe('overloaded');
    expect(Number(refused.headers.get('retry-after'))).toBeGreaterThan(0);
    const body = { target_server: 'web1', command: 'true' };
    const accepted = await small.call('POST', '/v1/jobs', { body, headers: { prefer: 'wait=60' } });
    expect(accepted.status).toBe(202);
    expect(accepted.headers.get('preference-applied')).toBeNull();
    gone.abort();
    await Promise.all(waiting);
  } finally {
    await small.stop();
  }
});

test('a closing server answers what it holds at once', async () => {
  const closing = await startTestApi(redis.url);
  const id = await newJob();
  const held = closing.call('GET', `/v1/jobs/${id}?wait=60`);
  await until(async () => /held_requests 1/.test((await closing.call('GET', '/metrics')).text));
  const began = performance.now();
  await closing.stop();
  expect((await held).body).toMatchObject({ id, state: 'queued' });
  expect(performance.now() - began).toBeLessThan(10_000);
});
