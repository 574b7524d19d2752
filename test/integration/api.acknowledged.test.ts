/** What callers hear with SLUICE_ACK_REPLICAS: of every kind of write, while the replica is there and while it is not. */
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { parseRedisUrl } from '../../src/config/redis-url.ts';
import { type GatewayParts, startGatewayParts } from '../helpers/gateway-parts.ts';
import { withClient } from '../helpers/redis-process.ts';
import { type ReplicatedRedis, startReplicatedRedis } from '../helpers/redis-replica.ts';
import { until } from '../helpers/until.ts';

let redis: ReplicatedRedis;

beforeAll(async () => {
  redis = await startReplicatedRedis();
});
afterAll(async () => {
  await redis?.stop();
});

const start = (prefix: string, ackReplicas: number) =>
  startGatewayParts(parseRedisUrl(redis.url), prefix, { needs: { durability: 'everysec', ackReplicas } });
/** A job that nothing starts: its host is drained. */
const order = { target_server: 'idle', command: 'true' };

async function prepare({ call }: GatewayParts): Promise<void> {
  expect((await call('PUT', '/v1/hosts/idle', { address: '127.0.0.1:1', token: 'token' })).status).toBe(201);
  expect((await call('POST', '/v1/hosts/idle:drain')).status).toBe(200);
}

it('without replicas to wait for nothing waits, and there is no connection for it', async () => {
  const gateway = await start('{none}', 0);
  try {
    await prepare(gateway);
    for (let i = 0; i < 20; i++) expect((await gateway.call('POST', '/v1/jobs', order)).status).toBe(202);
    await withClient(redis.primary.reach, async (client) => {
      await client.config('RESETSTAT');
      await gateway.call('POST', '/v1/jobs', order, { 'idempotency-key': '"none"' });
      await gateway.call('POST', '/v1/jobs', order, { 'idempotency-key': '"none"' });
      expect(await client.info('commandstats')).not.toContain('cmdstat_wait');
      const names = [...String(await client.client('LIST')).matchAll(/ name=(\S+)/g)].map(([, name]) => name);
      expect(names).toContain('sluice:api');
      expect(names).not.toContain('sluice:api-writes');
      expect(names).not.toContain('sluice:workers-starts');
      expect(await client.exists('{none}:replicated')).toBe(0);
    });
  } finally {
    await gateway.close();
  }
});

describe('with one replica to wait for', () => {
  let gateway: GatewayParts;
  let submitted: { id: string };
  let webhook: { id: string };

  beforeAll(async () => {
    gateway = await start('{one}', 1);
    await prepare(gateway);
    const { body } = await gateway.call('POST', '/v1/jobs', order, { 'idempotency-key': '"first"' });
    submitted = body as { id: string };
    const hook = { url: 'https://receiver.example.net/hook', events: ['job.failed'] };
    const made = await gateway.call('POST', '/v1/webhooks', hook);
    expect(made.status).toBe(201);
    webhook = made.body as { id: string };
    await redis.replica.kill('SIGSTOP');
  });
  afterAll(async () => {
    await redis.replica.kill('SIGCONT');
    await gateway?.close();
  });

  it.each([
    ['a submission', () => ['POST', '/v1/jobs', order]],
    [
      'a repetition of what was acknowledged',
      () => ['POST', '/v1/jobs', order, { 'idempotency-key': '"first"' }],
    ],
    ['a cancel', () => ['POST', `/v1/jobs/${submitted.id}:cancel`]],
    ['a cancel by a filter', () => ['POST', '/v1/jobs:cancel', { target_server: 'idle' }]],
    ['a host', () => ['PUT', '/v1/hosts/idle', { max_requests: 2 }]],
    ['a resume', () => ['POST', '/v1/hosts/idle:resume']],
    ['a change of an endpoint', () => ['PATCH', `/v1/webhooks/${webhook.id}`, { events: ['job.lost'] }]],
    ['a removal', () => ['DELETE', `/v1/webhooks/${webhook.id}`]],
  ] as [string, () => Parameters<GatewayParts['call']>][])(
    '%s is not acknowledged while it is missing',
    async (_, request) => {
      const { status, body } = await gateway.call(...request());
      expect([status, body.code]).toEqual([503, 'not_acknowledged']);
    },
  );

  it('what is read is answered meanwhile, and nothing was changed', async () => {
    const job = await gateway.call('GET', `/v1/jobs/${submitted.id}`);
    expect([job.status, job.body.state]).toEqual([200, 'queued']);
    const host = await gateway.call('GET', '/v1/hosts/idle');
    expect(host.body).toMatchObject({ status: 'draining', max_requests: 4 });
    expect((await gateway.call('GET', `/v1/webhooks/${webhook.id}`)).body.events).toEqual(['job.failed']);
  });

  it('a repetition is answered with the first job once it is back', async () => {
    await redis.replica.kill('SIGCONT');
    const again = await until(async () => {
      const reply = await gateway.call('POST', '/v1/jobs', order, { 'idempotency-key': '"first"' });
      return reply.status === 202 && reply;
    });
    expect(again.body.id).toBe(submitted.id);
    const canceled = await gateway.call('POST', `/v1/jobs/${submitted.id}:cancel`);
    expect([canceled.status, canceled.body.state]).toEqual([200, 'canceled']);
    const state = await withClient(redis.replica.reach, (client) =>
      client.hget(`{one}:job:${submitted.id}`, 'state'),
    );
    expect(state).toBe('canceled');
  });
});
