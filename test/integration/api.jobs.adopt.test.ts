/** Adopting jobs that were started on agents of each Base generation by somebody else. */
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { parseRedisUrl } from '../../src/config/redis-url.ts';
import { createApiKeyStore } from '../../src/store/api-keys.ts';
import { createKeys } from '../../src/store/keys.ts';
import { connectForBlocking } from '../../src/store/redis.ts';
import { createBaseClient } from '../helpers/base-agent.client.ts';
import { type BaseAgent, startBaseAgent } from '../helpers/base-agent.ts';
import { type GatewayParts, startGatewayParts } from '../helpers/gateway-parts.ts';
import { startRedis, type TestRedis } from '../helpers/redis.ts';
import { until } from '../helpers/until.ts';

let redis: TestRedis;
let gateway: GatewayParts;
const agents = new Map<string, BaseAgent>();

beforeAll(async () => {
  redis = await startRedis();
  gateway = await startGatewayParts(parseRedisUrl(redis.url));
  for (const generation of ['A', 'B', 'C'] as const) {
    const agent = await startBaseAgent({ generation, rate: null });
    agents.set(generation, agent);
    const { address, token, fingerprint } = agent;
    // Room for many at once: what is asked here is asked by people, and has the smallest share.
    const rate = { limit: 1_000, period_seconds: 1 };
    const host = { address, token, tls: { fingerprint }, rate };
    expect((await gateway.call('PUT', `/v1/hosts/${generation}`, host)).status).toBe(201);
  }
});

afterAll(async () => {
  await gateway?.close();
  for (const agent of agents.values()) await agent.close();
  await redis?.stop();
});

const agentOf = (generation: string) => agents.get(generation) as BaseAgent;
let named = 0;

/** Started on the agent directly, as an old caller does. */
async function startedByOthers(generation: string, command: string): Promise<string> {
  const client = createBaseClient(agentOf(generation));
  try {
    return await client.run(command, { use_tmux: true, job_id: `old_${generation}_${++named}` });
  } finally {
    await client.close();
  }
}

const adopt = (target_server: string, agent_job_id: string, more: object = {}) =>
  gateway.call('POST', '/v1/jobs:adopt', { target_server, agent_job_id, mode: 'tmux', ...more });

const endOf = (id: unknown) =>
  until(
    async () => {
      const { body } = await gateway.call('GET', `/v1/jobs/${id}`);
      return body.ended_at !== null && body;
    },
    { timeoutMs: 30_000, what: `the end of ${id}` },
  );

describe.each(['A', 'B', 'C'])('a job of an agent of generation %s', (generation) => {
  it('is followed to its end, with its code and its output', async () => {
    const id = await startedByOthers(generation, 'sleep 1; echo from before; (exit 4)');
    const { status, body } = await adopt(generation, id, { labels: { dag_id: 'old' } });
    expect(status).toBe(202);
    expect(body).toMatchObject({
      state: 'running',
      version: 1,
      attempt: 1,
      started_by: 'base',
      agent_job_id: id,
      labels: { dag_id: 'old' },
      command: '',
    });
    expect(await endOf(body.id)).toMatchObject({ state: 'failed', return_code: 4 });
  });

  it('that is over already takes its end', async () => {
    const id = await startedByOthers(generation, 'true');
    const client = createBaseClient(agentOf(generation));
    await client.ended(id);
    await client.close();
    const { body } = await adopt(generation, id);
    expect(await endOf(body.id)).toMatchObject({ state: 'succeeded', return_code: 0 });
  });

  it('is one job, however often it is adopted', async () => {
    const id = await startedByOthers(generation, 'sleep 2');
    const replies = await Promise.all([adopt(generation, id), adopt(generation, id), adopt(generation, id)]);
    const ids = new Set([...replies, await adopt(generation, id)].map(({ body }) => body.id));
    expect(ids.size).toBe(1);
    expect(replies[0]?.body.id).toMatch(/^job_/);
  });

  it('is 404 where the agent does not know it', async () => {
    const { status, body } = await adopt(generation, 'never-seen');
    expect(status).toBe(404);
    expect(body).toMatchObject({ code: 'agent_job_unknown', field: 'agent_job_id' });
  });
});

it('a job of a host that does not answer is unreachable, and takes its true state when it is back', async () => {
  const id = await startedByOthers('B', 'sleep 3');
  const agent = agentOf('B');
  agent.fault('*', { kind: 'reset', when: 'before' }, Number.POSITIVE_INFINITY);
  const { status, body } = await adopt('B', id);
  expect(status).toBe(202);
  expect(body).toMatchObject({ state: 'unreachable', agent_job_id: id });
  expect(body.unreachable_since).not.toBeNull();
  agent.mend();
  expect(await endOf(body.id)).toMatchObject({ state: 'succeeded' });
});

it('gives nobody a job of another caller, nor one of a user that the key may not be', async () => {
  const { body: own } = await gateway.call('POST', '/v1/jobs', { target_server: 'C', command: 'sleep 1' });
  const { body: running } = await until(
    async () => {
      const reply = await gateway.call('GET', `/v1/jobs/${own.id}`);
      return reply.body.agent_job_id !== null && reply;
    },
    { timeoutMs: 10_000, what: 'its start' },
  );
  const theirs = await adopt('C', String(running.agent_job_id));
  expect([theirs.status, theirs.body.code]).toEqual([404, 'agent_job_unknown']);
  const id = await startedByOthers('C', 'sleep 1');
  const redisUrl = parseRedisUrl(redis.url);
  const client = connectForBlocking(redisUrl, 'test');
  await client.connect();
  const apiKeys = createApiKeyStore({ redis: client, keys: createKeys('{sluice}'), sealer: gateway.sealer });
  const grants = { scopes: ['jobs:submit' as const], hosts: ['*'], users: ['nobody'] };
  const { token } = await apiKeys.createKey('limited', grants);
  client.disconnect();
  const refused = await gateway.callAs(token)('POST', '/v1/jobs:adopt', {
    target_server: 'C',
    agent_job_id: id,
    job_user: 'nobody',
  });
  expect([refused.status, refused.body.code]).toEqual([403, 'forbidden']);
});

it('a host that asks to wait answers: the caller is told when to ask again, and nothing is taken over', async () => {
  const agent = await startBaseAgent({ generation: 'C', rate: null });
  agents.set('busy', agent);
  const { address, token, fingerprint } = agent;
  await gateway.call('PUT', '/v1/hosts/busy', { address, token, tls: { fingerprint } });
  const refused = async () => {
    const response = await fetch(`${gateway.url}/v1/jobs:adopt`, {
      method: 'POST',
      headers: { authorization: `Bearer ${gateway.key}`, 'content-type': 'application/json' },
      body: JSON.stringify({ target_server: 'busy', agent_job_id: 'mistyped' }),
    });
    const { code } = (await response.json()) as { code?: string };
    return { status: response.status, code, again: Number(response.headers.get('retry-after')) };
  };
  const pause = { kind: 'reply', status: 429, headers: { 'retry-after': '120' } } as const;
  agent.fault('*', pause);
  expect(await refused()).toEqual({ status: 503, code: 'agent_busy', again: 120 });
  // A check records what the host asked for, and from here on it is left alone.
  agent.fault('*', pause);
  expect((await gateway.call('POST', '/v1/hosts/busy:check')).status).toBe(200);
  const left = await refused();
  expect(left).toMatchObject({ status: 503, code: 'agent_busy' });
  expect(left.again).toBeGreaterThan(100);
});

it('a body that names no id, an unknown host or a field of a start is refused by name', async () => {
  const refused = async (body: object) => {
    const { status, body: problem } = await gateway.call('POST', '/v1/jobs:adopt', body);
    return [status, problem.code, problem.field];
  };
  expect(await refused({ target_server: 'A' })).toEqual([400, 'invalid_request', 'agent_job_id']);
  expect(await refused({ target_server: 'nobody', agent_job_id: 'x' })).toEqual([
    422,
    'target_unknown',
    'target_server',
  ]);
  expect(await refused({ target_server: 'A', agent_job_id: 'x', command: 'true' })).toEqual([
    400,
    'unknown_field',
    'command',
  ]);
});
