/** What callers see of a command that is run again: its attempts, and the output of each. */
import { afterAll, beforeAll, expect, it } from 'vitest';
import type { Explanation } from '../../src/protocol/explanation.ts';
import type { JobView } from '../../src/protocol/job-view.ts';
import type { Workers } from '../../src/workers/main.ts';
import { startTestApi, type TestApi } from '../helpers/api.ts';
import { type RealAgent, startRealAgent } from '../helpers/real-agent.ts';
import { startRedis, type TestRedis } from '../helpers/redis.ts';
import { openStores, type Stores } from '../helpers/stores.ts';
import { until } from '../helpers/until.ts';
import { startTestWorkers } from '../helpers/workers.ts';

let redis: TestRedis;
let agent: RealAgent;
let stores: Stores;
let api: TestApi;
let workers: Workers;

beforeAll(async () => {
  [redis, agent] = await Promise.all([startRedis(), startRealAgent()]);
  stores = await openStores(redis.url, { secret: Buffer.alloc(32, 7) });
  api = await startTestApi(redis.url);
  workers = await startTestWorkers(redis.url, stores);
  const { address, token, fingerprint } = agent;
  await call('PUT', '/v1/hosts/web1', { address, token, tls: { fingerprint } });
});
afterAll(async () => {
  await workers?.close();
  await api?.stop();
  await stores?.close();
  await agent?.stop();
  await redis?.stop();
});

const call = (method: string, path: string, body?: object, headers: Record<string, string> = {}) =>
  api.call(method, path, { ...(body && { body }), headers });
const submit = (command: string, retry: object, headers = {}) =>
  call('POST', '/v1/jobs', { target_server: 'web1', command, retry }, headers);
/** Says which attempt it is, and fails. */
const FAILING = 'echo "of $SLUICE_JOB_ID"; exit 3';

it('each attempt is listed with its end, and has an output of its own', async () => {
  const submitted = await submit(FAILING, { max_attempts: 2, backoff_seconds: 0 }, { prefer: 'wait=30' });
  expect(submitted.status).toBe(200);
  const { id } = submitted.body;
  const first = {
    attempt: 1,
    state: 'failed',
    agent_job_id: `${id}-1`,
    outcome: { kind: 'exit', return_code: 3 },
  };
  expect(submitted.body).toMatchObject({
    ...{ state: 'failed', attempt: 2, return_code: 3, stdout_tail: `of ${id}-2\n` },
    attempts: [first, { ...first, attempt: 2, agent_job_id: `${id}-2` }],
    retry: { max_attempts: 2, backoff_seconds: 0, on: ['exit', 'signal', 'spawn_error'] },
  });
  for (const [query, attempt] of [
    ['', 2],
    ['?attempt=1', 1],
    ['?attempt=2', 2],
  ] as const) {
    const logs = await call('GET', `/v1/jobs/${id}/logs${query}`);
    expect(logs.text).toBe(`of ${id}-${attempt}\n`);
    expect(logs.headers.get('x-log-complete')).toBe('true');
  }
  expect((await call('GET', `/v1/jobs/${id}/logs?attempt=3`)).status).toBe(400);
});

it('between two attempts a job is queued and says why, and the output of the first has its end', async () => {
  const { body } = await submit(FAILING, { max_attempts: 3, backoff_seconds: 600 });
  const path = `/v1/jobs/${body.id}`;
  const explained = await until(async () => {
    const why = (await call('GET', `${path}/explain`)).body as Explanation;
    return why.waiting_for === 'next_attempt' && why;
  });
  expect(explained).toMatchObject({
    state: 'queued',
    message: expect.stringMatching(
      /^It starts again, as attempt 2 of 3, .* \(in .*\): attempt 1 of 3: ended with code 3\.$/,
    ),
    start_deadline_at: expect.any(String),
  });
  expect(Date.parse(explained.eligible_at ?? '')).toBeGreaterThan(Date.now() + 500_000);
  const job = (await call('GET', path)).body as JobView;
  expect(job).toMatchObject({ state: 'queued', attempt: 2, outcome: null, return_code: null });
  expect(job.attempts).toMatchObject([
    { state: 'failed' },
    { attempt: 2, state: 'queued', started_at: null },
  ]);

  expect((await call('GET', `${path}/logs`)).text).toBe('');
  const followed = await call('GET', `${path}/logs?attempt=1`, undefined, { accept: 'text/event-stream' });
  expect(followed.text).toContain(`of ${body.id}-1`);
  expect(followed.text).toMatch(/event: end\nid: \d+\ndata: .*"state":"failed"/);
  expect((await call('POST', `${path}:cancel`)).body).toMatchObject({ state: 'canceled', attempt: 2 });
});

it('the tail of an earlier attempt outlives its host', async () => {
  const { body } = await submit(FAILING, { max_attempts: 2, backoff_seconds: 0 }, { prefer: 'wait=30' });
  await agent.kill('SIGKILL');
  try {
    for (const attempt of [1, 2]) {
      const logs = await call('GET', `/v1/jobs/${body.id}/logs?attempt=${attempt}`);
      expect(logs.text).toBe(`of ${body.id}-${attempt}\n`);
      expect(logs.headers.get('x-log-truncated')).toBe('false');
    }
  } finally {
    await agent.restart();
  }
});

it('one attempt is no retry', async () => {
  const { body } = await submit('true', { max_attempts: 1, on: ['timeout'] });
  expect(body.retry).toBeNull();
});
