/** Two gateways of different prefix on one Redis, each with its API and workers: neither sees anything of the other. */
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { parseRedisUrl } from '../../src/config/redis-url.ts';
import { createApiKeyStore } from '../../src/store/api-keys.ts';
import { createKeys } from '../../src/store/keys.ts';
import { connectForBlocking, type Redis } from '../../src/store/redis.ts';
import { type BaseAgent, startBaseAgent } from '../helpers/base-agent.ts';
import { type GatewayParts, startGatewayParts } from '../helpers/gateway-parts.ts';
import { type Receiver, startReceiver } from '../helpers/receiver.ts';
import { freePort, redisServer, startRedis, type TestRedis } from '../helpers/redis.ts';
import { startRedisProcess, withClient } from '../helpers/redis-process.ts';
import { until } from '../helpers/until.ts';

interface Half {
  name: string;
  prefix: string;
  gateway: GatewayParts;
  agent: BaseAgent;
  receiver: Receiver;
  /** An API key of this gateway, that of no other. */
  key: string;
  jobs: string[];
}

const JOBS = 6;

let server: TestRedis;
let redis: Redis;
let halves: [Half, Half];

/** One gateway with a host, an API key, an endpoint for webhooks and some jobs, all named alike in both. */
async function startHalf(name: string): Promise<Half> {
  const prefix = `{${name}}`;
  const gateway = await startGatewayParts(parseRedisUrl(server.url), prefix);
  const [agent, receiver] = await Promise.all([
    startBaseAgent({ generation: 'C', rate: null }),
    startReceiver(),
  ]);
  const { address, token, fingerprint } = agent;
  await gateway.call('PUT', '/v1/hosts/web1', { address, token, tls: { fingerprint } });
  const endpoint = { url: `${receiver.url}/hook`, events: ['job.succeeded'] };
  expect((await gateway.call('POST', '/v1/webhooks', endpoint)).status).toBe(201);
  const apiKeys = createApiKeyStore({ redis, keys: createKeys(prefix), sealer: gateway.sealer });
  const grants = { scopes: ['jobs:read' as const], hosts: ['*'], users: [null] };
  const { token: key } = await apiKeys.createKey('reader', grants);
  return { name, prefix, gateway, agent, receiver, key, jobs: [] };
}

beforeAll(async () => {
  server = await startRedis();
  redis = connectForBlocking(parseRedisUrl(server.url), 'test');
  await redis.connect();
  halves = [await startHalf('one'), await startHalf('two')];
  for (let i = 0; i < JOBS; i++) {
    for (const { name, gateway, jobs } of halves) {
      const body = { target_server: 'web1', command: `echo of ${name} ${i}` };
      const reply = await gateway.call('POST', '/v1/jobs', body, { 'idempotency-key': `"${i}"` });
      expect(reply.status).toBe(202);
      jobs.push(reply.body.id as string);
    }
  }
});

afterAll(async () => {
  for (const { gateway, agent, receiver } of halves ?? []) {
    await gateway.close();
    await agent.close();
    await receiver.stop();
  }
  redis?.disconnect();
  await server?.stop();
});

it('each drains its own host, and starts nothing of the other', async () => {
  for (const { name, gateway, agent, jobs } of halves) {
    for (const [i, id] of jobs.entries()) {
      const job = await gateway.call('GET', `/v1/jobs/${id}?wait=20`);
      expect(job.body).toMatchObject({ id, state: 'succeeded' });
      expect(agent.startsOf(`echo of ${name} ${i}`)).toBe(1);
    }
  }
  const [one, two] = halves;
  for (let i = 0; i < JOBS; i++) {
    expect([one.agent.startsOf(`echo of two ${i}`), two.agent.startsOf(`echo of one ${i}`)]).toEqual([0, 0]);
  }
});

it('each lists its own jobs, hosts, endpoints and changes, and knows nothing of the other one', async () => {
  const [one, two] = halves;
  for (const [half, other] of [
    [one, two],
    [two, one],
  ] as const) {
    const ids = async (path: string) =>
      ((await half.gateway.call('GET', path)).body.items as { id?: string; name?: string }[]).map(
        ({ id, name }) => id ?? name,
      );
    expect((await ids('/v1/jobs')).toSorted()).toEqual(half.jobs.toSorted());
    expect(await ids('/v1/hosts')).toEqual(['web1']);
    expect(await ids('/v1/webhooks')).toHaveLength(1);
    for (const id of other.jobs) expect((await half.gateway.call('GET', `/v1/jobs/${id}`)).status).toBe(404);
  }
});

it('each takes its own API keys only', async () => {
  const [one, two] = halves;
  expect((await one.gateway.callAs(one.key)('GET', '/v1/jobs')).status).toBe(200);
  expect((await one.gateway.callAs(two.key)('GET', '/v1/jobs')).status).toBe(401);
  expect((await two.gateway.callAs(one.key)('GET', '/v1/jobs')).status).toBe(401);
});

it('each tells its own endpoints of its own jobs', async () => {
  for (const { receiver, jobs } of halves) {
    await until(() => receiver.received.length >= JOBS, { what: 'all webhooks' });
    const told = new Set(receiver.received.map(({ body }) => body.data.id));
    expect([...told].toSorted()).toEqual(jobs.toSorted());
  }
});

it("every key carries the hash tag of its gateway, BullMQ's too", async () => {
  const names = await redis.keys('*');
  const tags = new Set(names.map((name) => /^\{[^{}]+\}(?=:)/.exec(name)?.[0] ?? name));
  expect([...tags].toSorted()).toEqual(['{one}', '{two}']);
});

it('so that a gateway can live on one primary of a Cluster, which refuses what touches two slots', async () => {
  const dir = await mkdtemp(join(tmpdir(), 'sluice-test-cluster-'));
  const port = await freePort();
  const command = [...redisServer(), '--bind', '127.0.0.1', '--port', `${port}`, '--dir', dir];
  const primary = await startRedisProcess([...command, '--cluster-enabled', 'yes'], {
    host: '127.0.0.1',
    port,
  });
  try {
    await withClient(primary.reach, async (client) => {
      await client.call('cluster', 'addslotsrange', 0, 16_383);
      await until(async () => String(await client.call('cluster', 'info')).includes('cluster_state:ok'));
    });
    const gateway = await startGatewayParts(parseRedisUrl(`redis://127.0.0.1:${port}`));
    try {
      const { address, token, fingerprint } = halves[0].agent;
      await gateway.call('PUT', '/v1/hosts/web1', { address, token, tls: { fingerprint } });
      const body = { target_server: 'web1', command: 'sleep 0.5; echo in one slot', labels: { a: 'b' } };
      const { id } = (await gateway.call('POST', '/v1/jobs', body, { 'idempotency-key': '"1"' })).body;
      const job = await gateway.call('GET', `/v1/jobs/${id}?wait=20`);
      expect(job.body).toMatchObject({ state: 'succeeded', stdout_tail: 'in one slot\n' });
    } finally {
      await gateway.close();
    }
  } finally {
    await primary.kill();
    await rm(dir, { recursive: true, force: true });
  }
});
