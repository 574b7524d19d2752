/** `GET /v1/jobs/{id}/explain` beside real workers and agents: each thing that a job can wait for. */
import { afterAll, beforeAll, expect, it } from 'vitest';
import type { Job } from '../../src/job/record.ts';
import type { WaitingFor } from '../../src/job/waiting-for.ts';
import type { Explanation } from '../../src/protocol/explanation.ts';
import type { HostPatch } from '../../src/store/hosts.ts';
import type { Workers } from '../../src/workers/main.ts';
import { startTestApi, type TestApi } from '../helpers/api.ts';
import { type BaseAgent, startBaseAgent } from '../helpers/base-agent.ts';
import { startRedis, type TestRedis } from '../helpers/redis.ts';
import { newJob, openStores, type Stores } from '../helpers/stores.ts';
import { until } from '../helpers/until.ts';
import { endOf, runToEnd, startTestWorkers, stateOf } from '../helpers/workers.ts';

let redis: TestRedis;
let api: TestApi;
let stores: Stores;
let workers: Workers;
const agents: BaseAgent[] = [];

beforeAll(async () => {
  redis = await startRedis();
  api = await startTestApi(redis.url);
  // The secret of the test API: its hosts' tokens are opened here.
  stores = await openStores(redis.url, { secret: Buffer.alloc(32, 7) });
  workers = await startTestWorkers(redis.url, stores);
});
afterAll(async () => {
  await workers?.close();
  for (const agent of agents) await agent.close();
  await stores?.close();
  await api?.stop();
  await redis?.stop();
});

/** A host that has answered once, so that it is not on probation. */
async function register(host: string, patch: HostPatch = {}): Promise<BaseAgent> {
  const agent = await startBaseAgent({ generation: 'B', rate: null });
  agents.push(agent);
  const { address, token, fingerprint } = agent;
  await stores.hosts.put(host, { address, token, tls: { fingerprint }, launcher: false, ...patch });
  await runToEnd(stores, { host, command: 'true' });
  return agent;
}

const submit = (host: string, command: string, more: Partial<Job> = {}) =>
  stores.submit(newJob({ host, command, ...more }));

async function explain(id: string): Promise<Explanation> {
  const { status, body, text } = await api.call('GET', `/v1/jobs/${id}/explain`);
  expect(status, text).toBe(200);
  return body as unknown as Explanation;
}

/** Once the job waits for that. */
function waits(id: string, what: WaitingFor): Promise<Explanation> {
  return until(
    async () => {
      const seen = await explain(id);
      return seen.waiting_for === what && seen;
    },
    { timeoutMs: 20_000, what: `${id} to wait for ${what}` },
  );
}

const put = (host: string, body: object) => api.call('PUT', `/v1/hosts/${host}`, { body });

it('a job before its time', async () => {
  await register('early');
  const not_before = Date.now() + 3_600_000;
  const { id } = await submit('early', 'true', { not_before });
  expect(await explain(id)).toMatchObject({
    job_id: id,
    host: 'early',
    state: 'queued',
    waiting_for: 'start_time',
    message: expect.stringMatching(/^It does not start before .* \(in 60 min\)\.$/),
    since: expect.stringMatching(/Z$/),
    eligible_at: new Date(not_before).toISOString(),
    next_look_at: new Date(not_before).toISOString(),
    position: { place: 1, waiting: 1 },
    circuit: { state: 'closed', status: 'up', draining: false, failures: 0 },
    limits: {
      max_requests: { in_use: 0, of: 4, starts_in_use: 0, starts_of: 3 },
      max_jobs: { in_use: 0, of: null },
      rate: { limit: 100, period_seconds: 60, burst: 10 },
    },
    lost_at_earliest: null,
  });
});

it('jobs beyond max_jobs: their places, and a higher limit starts them at once', async () => {
  await register('narrow', { max_jobs: 1 });
  const first = await submit('narrow', 'sleep 600');
  await stateOf(stores, first.id, 'running');
  const [second, urgent] = [
    await submit('narrow', 'sleep 600'),
    await submit('narrow', 'sleep 600', { priority: 9 }),
  ];
  expect(await waits(second.id, 'max_jobs')).toMatchObject({
    limits: { max_jobs: { in_use: 1, of: 1 } },
  });
  await until(async () => (await explain(second.id)).position?.place === 2, { what: 'the urgent one first' });
  expect((await explain(urgent.id)).position).toEqual({ place: 1, waiting: 2 });
  expect((await explain(second.id)).message).toMatch(/1 job at once .* 1 job of narrow is before it\.$/);
  expect(await explain(first.id)).toMatchObject({
    waiting_for: 'end',
    position: null,
    next_look_at: expect.stringMatching(/Z$/),
    message: expect.stringMatching(/^It is running on narrow, since .*asked about it/),
  });
  await put('narrow', { max_jobs: 3 });
  await Promise.all([second, urgent].map(({ id }) => stateOf(stores, id, 'running', 5_000)));
});

it('jobs beyond the rate: when the next token comes, and a wider rate lets them go at once', async () => {
  await register('slow');
  await put('slow', { rate: { limit: 2, period_seconds: 3_600, burst: 4 } });
  const submitted = [];
  for (let i = 0; i < 8; i++) submitted.push(await submit('slow', 'sleep 600'));
  const last = submitted.at(-1) as Job;
  const seen = await waits(last.id, 'rate');
  expect(seen).toMatchObject({
    message: expect.stringMatching(/^slow takes 2 requests in 60 min, .* are before it\.$/),
    limits: { rate: { limit: 2, period_seconds: 3_600, burst: 4, tokens: 0 } },
  });
  const next = Date.parse(seen.limits?.rate?.next_token_at ?? '') - Date.now();
  expect(next).toBeGreaterThan(0);
  expect(next).toBeLessThanOrEqual(1_800_000);
  await put('slow', { rate: { limit: 100_000, period_seconds: 1 } });
  await stateOf(stores, last.id, 'running', 10_000);
});

it('a host whose only request is in use, and the job that has it', async () => {
  const agent = await register('single', { max_requests: 1 });
  agent.fault('/run', { kind: 'hang', when: 'before' });
  const before = agent.requests['/run'] ?? 0;
  const first = await submit('single', 'echo first');
  await until(() => (agent.requests['/run'] ?? 0) > before, { what: 'the start that hangs' });
  const second = await submit('single', 'echo second');
  expect(await waits(second.id, 'max_requests')).toMatchObject({
    limits: { max_requests: { in_use: 1, of: 1, starts_in_use: 1, starts_of: 1 } },
  });
  expect(await explain(first.id)).toMatchObject({
    state: 'dispatching',
    waiting_for: 'host_answer',
    position: null,
    message: expect.stringMatching(/^single was asked to start it .* and has not said whether it did\./),
    start_deadline_at: expect.stringMatching(/Z$/),
  });
});

it('a host that asks for a pause', async () => {
  const agent = await register('paused');
  agent.fault('/run', { kind: 'reply', status: 429, headers: { 'retry-after': '120' } });
  const { id } = await submit('paused', 'true');
  const seen = await waits(id, 'host_paused');
  expect(seen).toMatchObject({ state: 'queued', circuit: { state: 'paused', status: 'up', failures: 0 } });
  expect(seen.message).toMatch(
    /^The agent of paused is busy and has asked for a pause: .* \(in 1\d\d s|2 min\)\.$/,
  );
  expect((await api.call('GET', '/v1/hosts/paused')).body).toMatchObject({ circuit: { state: 'paused' } });
});

it('a host whose agent has no room for another job: what it said', async () => {
  const agent = await register('crammed');
  const body = JSON.stringify({ error: 'disk_full', message: 'the disk of the spool is full' });
  agent.fault('/run', { kind: 'reply', status: 507, body, type: 'application/json' });
  const { id } = await submit('crammed', 'true');
  const seen = await waits(id, 'host_paused');
  const why = expect.stringMatching(/ disk_full: the disk of the spool is full$/);
  const circuit = { state: 'paused', retry_at: null, no_starts_until: expect.stringMatching(/Z$/) };
  expect(seen).toMatchObject({ state: 'queued', circuit: { ...circuit, status: 'up', cause: why } });
  expect(seen.message).toMatch(
    /disk_full: the disk of the spool is full\. crammed is asked to start jobs again .* \(in \d\d s\)\.$/,
  );
  expect((await api.call('GET', '/v1/hosts/crammed')).body).toMatchObject({ circuit, cause: why });
});

it('a host that does not answer: suspect, then down; and its running job', async () => {
  const agent = await register('away');
  const running = await submit('away', 'sleep 600');
  await stateOf(stores, running.id, 'running');
  await agent.stopListening();
  const { id } = await submit('away', 'true');
  expect(await waits(id, 'host_suspect')).toMatchObject({
    circuit: { status: 'suspect', cause: expect.stringContaining('ECONNREFUSED') },
  });
  const down = await waits(id, 'host_down');
  expect(down).toMatchObject({
    message: expect.stringMatching(/^away is down since .*ECONNREFUSED.* The job starts when it answers\.$/),
    circuit: { silent_since: expect.stringMatching(/Z$/) },
  });
  expect(Date.parse(down.since ?? '')).toBeGreaterThanOrEqual(Date.parse(down.circuit?.silent_since ?? ''));
  await stateOf(stores, running.id, 'unreachable');
  const unreachable = await explain(running.id);
  expect(unreachable).toMatchObject({
    waiting_for: 'host_answer',
    message: expect.stringMatching(/the job may well be running\..* away is (down|suspect) since/),
    lost_at_earliest: expect.stringMatching(/Z$/),
  });
  await stores.cancel(running.id, { signal: 'TERM', grace_seconds: 1, reason: null }, 'test');
  expect(await explain(running.id)).toMatchObject({
    state: 'canceling',
    waiting_for: 'host_answer',
    message: expect.stringMatching(/^Its cancel has not reached away yet\. away is down/),
  });
});

it('a host that refuses the token says what to do, and a drained one who does it', async () => {
  const agent = await register('refusing');
  await stores.hosts.put('refusing', { tls: { fingerprint: 'ab'.repeat(32) }, token: agent.token });
  const { id } = await submit('refusing', 'true');
  expect(await waits(id, 'host_misconfigured')).toMatchObject({
    message: expect.stringMatching(/^refusing is set up wrongly: .*certificate/),
    circuit: { status: 'misconfigured', remedy: expect.any(String) },
  });
  await api.call('POST', '/v1/hosts/refusing:drain');
  expect(await waits(id, 'host_draining')).toMatchObject({
    message: expect.stringContaining('sluice hosts resume refusing'),
    circuit: { draining: true },
  });
});

it('a job whose host nobody knows', async () => {
  const { id } = await submit('nobody', 'true');
  expect(await explain(id)).toMatchObject({
    waiting_for: 'host_unknown',
    limits: null,
    circuit: null,
    start_deadline_at: expect.stringMatching(/Z$/),
  });
});

it('a job that is over waits for nothing', async () => {
  await register('done');
  const { id } = await submit('done', 'false');
  await endOf(stores, id);
  expect(await explain(id)).toEqual({
    job_id: id,
    host: 'done',
    state: 'failed',
    waiting_for: 'nothing',
    message: expect.stringMatching(/^It is over: failed \(.*\)\.$/),
    since: expect.stringMatching(/Z$/),
    eligible_at: null,
    position: null,
    limits: null,
    circuit: null,
    next_look_at: null,
    start_deadline_at: null,
    lost_at_earliest: null,
  });
});

it('is for those who may see the job, and changes nothing', async () => {
  const { id } = await submit('nobody', 'echo unseen');
  const token = await api.key('stranger', { scopes: ['jobs:read'] });
  const refused = await api.call('GET', `/v1/jobs/${id}/explain`, { token });
  expect([refused.status, refused.body.code]).toEqual([404, 'not_found']);
  const before = await api.call('GET', `/v1/jobs/${id}`);
  await explain(id);
  expect((await api.call('GET', `/v1/jobs/${id}`)).body).toEqual(before.body);
});

it('jobs that no worker looks at, in their order, and after a while it is said', async () => {
  await register('left');
  await workers.close();
  const [first, second] = [await submit('left', 'true'), await submit('left', 'true')];
  expect(await explain(first.id)).toMatchObject({
    waiting_for: 'turn',
    message: 'It is the next to start on left.',
    position: { place: 1, waiting: 2 },
  });
  expect(await explain(second.id)).toMatchObject({
    waiting_for: 'turn',
    message: '1 job of left is before it.',
  });
  await stores.redis.zadd(stores.keys.armed, 'XX', (await stores.jobs.now()) - 60_000, 'left');
  expect(await explain(first.id)).toMatchObject({
    waiting_for: 'worker',
    message: expect.stringMatching(/\(6\d s ago\): is a worker running/),
  });
});
