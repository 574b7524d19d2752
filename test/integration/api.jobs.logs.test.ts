import { pino } from 'pino';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { parseRedisUrl } from '../../src/config/redis-url.ts';
import { startWorkers, type Workers } from '../../src/workers/main.ts';
import { startTestApi, type TestApi } from '../helpers/api.ts';
import { type RealAgent, startRealAgent } from '../helpers/real-agent.ts';
import { startRedis, type TestRedis } from '../helpers/redis.ts';
import { until } from '../helpers/until.ts';
import { TEST_CONFIG } from '../helpers/workers.ts';

let redis: TestRedis;
let api: TestApi;
let agent: RealAgent;
let workers: Workers;

beforeAll(async () => {
  redis = await startRedis();
  api = await startTestApi(redis.url);
  agent = await startRealAgent();
  const log = pino({ level: 'silent' });
  workers = await startWorkers({
    config: TEST_CONFIG,
    redisAddress: parseRedisUrl(redis.url),
    sealer: api.sealer,
    onGivenUp: (error) => {
      throw error;
    },
    log,
  });
  const tls = { fingerprint: agent.fingerprint };
  await api.hosts.put('real', { address: agent.address, token: agent.token, tls });
});
afterAll(async () => {
  await api.stop();
  await workers.close();
  await agent.stop();
  await redis.stop();
});

async function run(command: string, more: object = {}, prefer = 'wait=20') {
  const body = { target_server: 'real', command, poll_interval: 1, ...more };
  const reply = await api.call('POST', '/v1/jobs', { body, headers: { prefer } });
  expect([200, 202], reply.text).toContain(reply.status);
  return reply.body as Record<string, unknown> & { id: string };
}

const logs = (id: string, query = '', headers = {}) =>
  api.call('GET', `/v1/jobs/${id}/logs?${query}`, { headers });

test('a job runs to its end on a real agent, and shows its result and tails', async () => {
  const job = await run('echo out; echo err >&2; exit 3');
  expect(job).toMatchObject({
    state: 'failed',
    return_code: 3,
    outcome: { kind: 'exit', return_code: 3 },
    started_by: 'full',
    attempt: 1,
    attempts: [{ attempt: 1, agent_job_id: `${job.id}-1` }],
    stdout_bytes: 4,
    stdout_tail: 'out\n',
    stderr_tail: 'err\n',
  });
  expect(job).not.toHaveProperty('stdout');
});

test('a sync job carries its output', async () => {
  expect(await run('echo hello', { mode: 'sync' })).toMatchObject({
    stdout: 'hello\n',
    stdout_truncated: false,
  });
});

test('the environment of a job arrives, the secret one too', async () => {
  const job = await run('echo "$GREETING $WHOM"', {
    env: { GREETING: 'hello' },
    secret_env: { WHOM: 'you' },
  });
  expect(job.stdout_tail).toBe('hello you\n');
});

test('any range of the output can be read, byte for byte', async () => {
  const { id } = await run("printf '0123456789\\377\\000ü'");
  const part = await logs(id, 'offset=2&limit=3');
  expect(part.text).toBe('234');
  const header = (name: string) => part.headers.get(`x-log-${name}`);
  expect([header('offset'), header('next'), header('complete')]).toEqual(['2', '5', 'false']);
  const response = await fetch(`${api.url}/v1/jobs/${id}/logs?offset=9`, {
    headers: { authorization: 'Bearer an-admin-token-of-the-tests' },
  });
  expect(Buffer.from(await response.arrayBuffer()).toString('hex')).toBe('39ff00c3bc');
  expect(response.headers.get('x-log-complete')).toBe('true');
  expect(response.headers.get('x-log-truncated')).toBeNull();
});

test('an attempt that there never was is refused', async () => {
  const { id } = await run('true');
  expect((await logs(id, 'attempt=2')).body).toMatchObject({ status: 400, field: 'attempt' });
});

test('a followed output comes as it is written, to its end, and can be resumed', async () => {
  const command = "for i in 1 2 3; do echo line $i; sleep 0.4; done; printf 'ü\\377'";
  const { id } = await run(command, {}, 'respond-async');
  const events = await follow(`/v1/jobs/${id}/logs`);
  expect(events.at(-1)).toMatchObject({ event: 'end', data: { state: 'succeeded' } });
  expect(bytesOf(events).toString('hex')).toBe(
    `${Buffer.from('line 1\nline 2\nline 3\nü').toString('hex')}ff`,
  );
  expect(events.filter(({ event }) => event === undefined).length).toBeGreaterThan(1);

  const rest = await follow(`/v1/jobs/${id}/logs`, { 'last-event-id': '14' });
  expect(bytesOf(rest).toString('latin1')).toBe('line 3\n\u00c3\u00bc\u00ff');
});

test('where the host is gone the tail is shown, and says what is missing', async () => {
  const long = await run("head -c 20000 /dev/zero | tr '\\0' x");
  const short = await run('echo short');
  await agent.kill('SIGKILL');
  try {
    const cut = await logs(long.id);
    expect(cut.text).toHaveLength(8_192);
    expect(cut.headers.get('x-log-offset')).toBe('11808');
    expect(cut.headers.get('x-log-truncated')).toBe('true');
    expect(cut.headers.get('x-log-complete')).toBe('true');
    const whole = await logs(short.id, 'offset=2');
    expect([whole.text, whole.headers.get('x-log-truncated')]).toEqual(['ort\n', 'false']);
    const events = await follow(`/v1/jobs/${long.id}/logs`);
    expect(events[0]).toMatchObject({ id: '20000', data: { offset: 11_808 } });
  } finally {
    await agent.restart();
  }
});

test('a running job is canceled on its host', async () => {
  const { id } = await run('sleep 60', {}, 'respond-async');
  await until(async () => (await api.call('GET', `/v1/jobs/${id}`)).body.state === 'running');
  const canceled = await api.call('POST', `/v1/jobs/${id}:cancel`, { body: { grace_seconds: 1 } });
  expect(canceled.body.state).toBe('canceling');
  const over = await api.call('GET', `/v1/jobs/${id}?wait=20`);
  expect(over.body).toMatchObject({ state: 'canceled', canceled_by: 'admin' });
});

interface Event {
  id?: string;
  event?: string;
  data: { offset: number; data: string; encoding?: string; state?: string };
}

/** Reads a stream to its end. */
async function follow(path: string, headers: Record<string, string> = {}): Promise<Event[]> {
  const { text } = await api.call('GET', path, { headers: { accept: 'text/event-stream', ...headers } });
  const blocks = text.split('\n\n').filter((block) => block !== '' && !block.startsWith(':'));
  return blocks.map((block) => {
    const fields = Object.fromEntries(block.split('\n').map((line) => line.split(/: (.*)/s)));
    return { ...fields, data: JSON.parse(fields.data) };
  });
}

function bytesOf(events: Event[]): Buffer {
  const parts = events.filter(({ event }) => event === undefined);
  return Buffer.concat(
    parts.map(({ data }) => Buffer.from(data.data, data.encoding === 'base64' ? 'base64' : 'utf8')),
  );
}
