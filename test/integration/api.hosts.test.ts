import { afterAll, beforeAll, expect, test } from 'vitest';
import { startTestApi, type TestApi } from '../helpers/api.ts';
import { type BaseAgent, startBaseAgent } from '../helpers/base-agent.ts';
import { type RealAgent, startRealAgent } from '../helpers/real-agent.ts';
import { freePort, startRedis, type TestRedis } from '../helpers/redis.ts';
import { newJob } from '../helpers/stores.ts';
import { until } from '../helpers/until.ts';

let redis: TestRedis;
let api: TestApi;
let base: BaseAgent;
let full: RealAgent;

beforeAll(async () => {
  redis = await startRedis();
  api = await startTestApi(redis.url);
  base = await startBaseAgent({ generation: 'C' });
  full = await startRealAgent();
});
afterAll(async () => {
  await full.stop();
  await base.close();
  await api.stop();
  await redis.stop();
});

const put = (name: string, body: object) => api.call('PUT', `/v1/hosts/${name}`, { body });

interface CheckReply {
  ok: boolean;
  checks: { name: string; ok: boolean | null; cause: string | null; remedy: string | null }[];
}

async function check(name: string) {
  const reply = await api.call('POST', `/v1/hosts/${name}:check`);
  expect(reply.status, reply.text).toBe(200);
  const { ok, checks } = reply.body as unknown as CheckReply;
  return { ok, of: Object.fromEntries(checks.map((one) => [one.name, one])) };
}

test('a new host is 201 and unknown, a change is 200, and neither shows the token', async () => {
  const body = { address: '127.0.0.1:7001', token: 'a-very-secret-token', labels: { rack: '7' } };
  const created = await put('fresh', body);
  expect(created.status).toBe(201);
  expect(created.body).toMatchObject({
    status: 'unknown',
    last_contact_at: null,
    agent: null,
    tls: { pin: 'first_use' },
    max_requests: 4,
    max_jobs: null,
    rate: null,
    rate_in_force: null,
    circuit: { state: 'probation', failures: 0, retry_at: null },
    launcher: true,
    jobs: { queued: 0, running: 0 },
  });
  const changed = await put('fresh', { max_requests: 2, labels: null });
  expect(changed.body).toMatchObject({ address: '127.0.0.1:7001', max_requests: 2, labels: {} });
  const read = await api.call('GET', '/v1/hosts/fresh');
  for (const { text } of [created, changed, read]) expect(text).not.toContain('a-very-secret-token');
});

test('limits are shown as they were set and as they hold, and null takes them back', async () => {
  const limits = { rate: { limit: 30, period_seconds: 10 }, max_jobs: 7 };
  await put('limited', { address: '127.0.0.1:7006', token: 't', ...limits });
  expect((await put('limited', { max_requests: 3 })).body).toMatchObject({
    ...limits,
    max_requests: 3,
    rate_in_force: { limit: 30, period_seconds: 10, burst: 3 },
  });
  const strict = await put('limited', { rate: { limit: 30, period_seconds: 10, burst: 1 } });
  expect(strict.body.rate_in_force).toEqual({ limit: 30, period_seconds: 10, burst: 1 });
  const none = await put('limited', { rate: null, max_jobs: null });
  expect(none.body).toMatchObject({ rate: null, rate_in_force: null, max_jobs: null });
});

test("without a rate of its own a host has that of its agent's kind", async () => {
  await put('by-kind', { address: await otherName(base.address), token: base.token });
  await check('by-kind');
  expect((await api.call('GET', '/v1/hosts/by-kind')).body).toMatchObject({
    rate: null,
    rate_in_force: { limit: 100, period_seconds: 60, burst: 10 },
  });
  await api.call('DELETE', '/v1/hosts/by-kind');
});

test('settings that should not stay so are warned of', async () => {
  const body = { address: '127.0.0.1:7002', token: 't', tls: { insecure: true }, launcher: false };
  expect((await put('lax', body)).body.warnings).toHaveLength(2);
});

test('a name may have colons, and the verb is what follows the last one', async () => {
  expect((await put('a:b:18443', { address: '127.0.0.1:7003', token: 't' })).status).toBe(201);
  expect((await put('check', { address: '127.0.0.1:7004', token: 't' })).status).toBe(201);
  expect((await api.call('GET', '/v1/hosts/a:b:18443')).body.name).toBe('a:b:18443');
  expect((await api.call('POST', '/v1/hosts/a:b:18443:check')).body.host).toBe('a:b:18443');
  expect((await api.call('POST', '/v1/hosts/check:check')).body.host).toBe('check');
});

test('lists go by name in pages, and show a key only its hosts', async () => {
  for (let i = 0; i < 5; i++) await put(`list${i}`, { address: `127.0.0.1:${7100 + i}`, token: 't' });
  const token = await api.key('list-reader', { scopes: ['hosts:read'], hosts: ['list*'] });
  const names: string[] = [];
  for (let next: string | null = ''; next !== null; ) {
    const path: string = `/v1/hosts?page_size=2${next && `&page_token=${next}`}`;
    const { body } = await api.call('GET', path, { token });
    names.push(...(body.items as { name: string }[]).map(({ name }) => name));
    next = body.next_page_token as string | null;
  }
  expect(names).toEqual(['list0', 'list1', 'list2', 'list3', 'list4']);
  expect((await api.call('GET', '/v1/hosts/fresh', { token })).status).toBe(404);
});

test('a key may not register or remove hosts beyond its patterns', async () => {
  const token = await api.key('list-writer', { scopes: ['hosts:write'], hosts: ['list*'] });
  const body = { address: '127.0.0.1:7200', token: 't' };
  expect((await api.call('PUT', '/v1/hosts/web9', { body, token })).body.code).toBe('forbidden');
  expect((await api.call('DELETE', '/v1/hosts/fresh', { token })).status).toBe(404);
  expect((await api.call('POST', '/v1/hosts/fresh:trust', { token })).status).toBe(404);
});

test('a host with jobs stays until they are over', async () => {
  await put('busy', { address: '127.0.0.1:7005', token: 't' });
  const job = await api.call('POST', '/v1/jobs', { body: { target_server: 'busy', command: 'true' } });
  expect((await api.call('GET', '/v1/hosts/busy')).body.jobs).toEqual({ queued: 1, running: 0 });
  const refused = await api.call('DELETE', '/v1/hosts/busy');
  expect([refused.status, refused.body.code]).toEqual([409, 'host_has_active_jobs']);
  await api.call('POST', `/v1/jobs/${job.body.id}:cancel`);
  expect((await api.call('DELETE', '/v1/hosts/busy')).status).toBe(204);
  expect((await api.call('GET', '/v1/hosts/busy')).status).toBe(404);
  expect((await api.call('DELETE', '/v1/hosts/busy')).status).toBe(404);
});

test('a check of a Full agent finds everything in order, and is remembered', async () => {
  await put('full', { address: full.address, token: full.token, tls: { fingerprint: full.fingerprint } });
  const { ok, of } = await check('full');
  expect(ok, JSON.stringify(of)).toBe(true);
  expect(of.launcher?.ok).toBeNull();
  expect((await api.call('GET', '/v1/hosts/full')).body).toMatchObject({
    status: 'up',
    last_contact_at: expect.stringMatching(/Z$/),
    agent: { kind: 'full', protocol: 2, capabilities: expect.arrayContaining(['idempotent_run']) },
  });
});

test('a check of a Base agent proves the launcher and pins the certificate', async () => {
  await put('base', { address: base.address, token: base.token });
  const { ok, of } = await check('base');
  expect(ok, JSON.stringify(of)).toBe(true);
  expect(of.launcher?.ok).toBe(true);
  const { body } = await api.call('GET', '/v1/hosts/base');
  expect(body).toMatchObject({ status: 'up', agent: { kind: 'base' }, pinned_fingerprint: base.fingerprint });
});

test('an agent that takes any token is found, and its host keeps the warning', async () => {
  const careless = await startBaseAgent({ generation: 'B' });
  try {
    await put('careless', { address: careless.address, token: 'made-up' });
    expect((await check('careless')).of.token).toMatchObject({
      ok: false,
      cause: expect.stringMatching(/any token/),
    });
    const { body } = await api.call('GET', '/v1/hosts/careless');
    expect(body.warnings).toContainEqual(expect.stringMatching(/any token/));
  } finally {
    await careless.close();
  }
});

test('a wrong token is found, with what to do about it', async () => {
  await put('wrong-token', { address: await otherName(base.address), token: 'wrong' });
  const { ok, of } = await check('wrong-token');
  expect(ok).toBe(false);
  expect(of.token).toMatchObject({ ok: false, remedy: expect.stringContaining('token') });
  expect([of.reachable?.ok, of.certificate?.ok, of.clock?.ok]).toEqual([true, true, null]);
  expect((await api.call('GET', '/v1/hosts/wrong-token')).body).toMatchObject({
    status: 'misconfigured',
    cause: expect.any(String),
    remedy: expect.stringContaining('token'),
  });
});

test('a changed certificate is found without telling it the token, and can be trusted', async () => {
  const before = base.requests['/ping'];
  await base.replaceCertificate();
  const { of } = await check('base');
  expect(of.certificate).toMatchObject({ ok: false, remedy: expect.stringContaining(':trust') });
  const trusted = await api.call('POST', '/v1/hosts/base:trust');
  expect(trusted.status, trusted.text).toBe(200);
  expect(trusted.body.pinned_fingerprint).toBe(base.fingerprint);
  expect(base.requests['/ping']).toBe(before);
  expect((await check('base')).ok).toBe(true);
});

test('trust replaces a fingerprint that was set by hand', async () => {
  await put('by-hand', {
    address: await otherName(full.address),
    token: full.token,
    tls: { fingerprint: `${'AB:'.repeat(31)}AB` },
  });
  expect((await check('by-hand')).of.certificate?.ok).toBe(false);
  const { body } = await api.call('POST', '/v1/hosts/by-hand:trust');
  expect(body.tls).toEqual({ fingerprint: full.fingerprint });
  expect((await check('by-hand')).ok).toBe(true);
});

test('trust makes no sense where nothing is pinned', async () => {
  const { status, body } = await api.call('POST', '/v1/hosts/lax:trust');
  expect([status, body.code, body.field]).toEqual([400, 'invalid_request', 'tls']);
});

test('a host that nobody answers for is unreachable, and its circuit shows it', async () => {
  await put('gone', { address: `127.0.0.1:${await freePort()}`, token: 't' });
  for (let i = 0; i < 3; i++) expect((await check('gone')).of.reachable?.ok).toBe(false);
  const { body } = await api.call('GET', '/v1/hosts/gone');
  expect(body).toMatchObject({
    status: 'down',
    circuit: { state: 'open', failures: 3, retry_at: expect.any(String) },
  });
});

test('a host that asks to wait is busy and not failing: what it did not answer is not known', async () => {
  base.fault('/ping', { kind: 'reply', status: 429, headers: { 'retry-after': '120' } });
  const { ok, of } = await check('base');
  expect(ok).toBe(true);
  expect([of.reachable?.ok, of.certificate?.ok, of.users?.ok]).toEqual([true, true, null]);
  expect(of.token).toMatchObject({ ok: null, remedy: 'It is busy: check again in 120 s.' });
  expect((await api.call('GET', '/v1/hosts/base')).body).toMatchObject({
    status: 'up',
    circuit: { state: 'paused', failures: 0, retry_at: expect.any(String) },
  });
});

test('a check for which there is no room in the rate is told as busy, and blames nobody', async () => {
  const rationed = await startBaseAgent({ generation: 'C' });
  const { address, token } = rationed;
  await put('rationed', { address, token, rate: { limit: 1, period_seconds: 3_600, burst: 9 } });
  await check('rationed');
  await until(async () => (await api.call('POST', '/v1/hosts/rationed:check')).status === 503);
  const { status, body } = await api.call('POST', '/v1/hosts/rationed:check');
  expect([status, body.code]).toEqual([503, 'host_busy']);
  expect((await api.call('GET', '/v1/hosts/rationed')).body).toMatchObject({
    status: 'up',
    circuit: { failures: 0 },
  });
  await rationed.close();
});

test('a host that takes no more requests is told as busy', async () => {
  await put('full', { max_requests: 1 });
  await api.slots.takeIfFree('full', 'somebody', { max: 1, leaseMs: 20_000 });
  const { status, body } = await api.call('POST', '/v1/hosts/full:check');
  expect([status, body.code]).toEqual([503, 'host_busy']);
  await api.slots.release('full', 'somebody');
  await until(async () => (await check('full')).ok);
});

/** Another spelling of the same address: one address is one host. */
async function otherName(address: string): Promise<string> {
  return address.replace('127.0.0.1', 'localhost');
}

test('a drained host says so and keeps its jobs waiting, until it is resumed', async () => {
  const drained = await api.call('POST', '/v1/hosts/lax:drain');
  expect(drained).toMatchObject({ status: 200, body: { status: 'draining' } });
  expect((await api.call('GET', '/v1/hosts/lax')).body.status).toBe('draining');
  const resumed = await api.call('POST', '/v1/hosts/lax:resume');
  expect(resumed.status).toBe(200);
  expect(resumed.body.status).not.toBe('draining');
});

test('jobs that were put off to the end of a pause are asked about as soon as their host is mended', async () => {
  const agent = await startBaseAgent({ generation: 'C' });
  const { address, token } = agent;
  await put('mended', { address, token, tls: { fingerprint: agent.fingerprint }, launcher: false });
  const accepted = await api.jobs.accept(newJob({ host: 'mended', command: 'true' }));
  if (accepted.kind !== 'accepted') throw new Error(accepted.kind);
  const started = await api.jobs.transition(accepted.job, 'queued', 'dispatching', {
    attempt: 1,
    why: 'test',
  });
  const later = Date.now() + 3_600_000;
  await api.jobs.transition(started || accepted.job, 'dispatching', 'running', {
    next_poll_at: later,
    why: 'test',
  });
  const isDue = async () => {
    const at = await api.redis.zscore(api.keys.followed('mended'), accepted.job.id);
    return at !== null && Number(at) <= Date.now();
  };
  expect(await isDue()).toBe(false);

  await api.hosts.failed('mended', { status: 'unreachable', cause: 'a test', remedy: null });
  expect((await check('mended')).of.reachable?.ok).toBe(true);
  expect(await isDue(), 'after a check that found it well').toBe(true);

  await api.redis.zadd(api.keys.followed('mended'), later, accepted.job.id);
  await put('mended', { token });
  await until(isDue, { what: 'its question after the change' });
  await agent.close();
});
