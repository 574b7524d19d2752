/** Whose a batch is, and what a key may do with one later on: retries by others, and resumes with fewer rights than at its start. */
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { startTestApi, type TestApi } from '../helpers/api.ts';
import { type BatchByHand, createBatchByHand } from '../helpers/batch-by-hand.ts';
import { startRedis, type TestRedis } from '../helpers/redis.ts';
import { openStores, type Stores } from '../helpers/stores.ts';

let redis: TestRedis;
let api: TestApi;
let stores: Stores;
let byHand: BatchByHand;
let owner: string;

beforeAll(async () => {
  redis = await startRedis();
  stores = await openStores(redis.url);
  api = await startTestApi(redis.url);
  byHand = createBatchByHand(stores);
});
afterAll(async () => {
  await api?.stop();
  await stores?.close();
  await redis?.stop();
});
beforeEach(async () => {
  await stores.redis.flushall();
  for (const i of [1, 2, 3]) {
    const body = { address: `192.0.2.${i}:18443`, token: 't' };
    expect((await api.call('PUT', `/v1/hosts/web${i}`, { body })).status).toBe(201);
  }
  owner = await api.key('deploy', { scopes: SCOPES });
});

const SCOPES = ['jobs:submit', 'jobs:read'] as const satisfies string[];

type Options = { token?: string; headers?: Record<string, string> };
const submit = (body: object, options: Options = { token: owner }) =>
  api.call('POST', '/v1/batches', { body: { command: 'true', targets: ['web[1-3]'], ...body }, ...options });
const order = (id: string, verb: string, body: object = {}, options: Options = { token: owner }) =>
  api.call('POST', `/v1/batches/${id}:${verb}`, { body, ...options });

/** One of `deploy` that is over: its only host failed. */
async function failed(body: object = {}, headers: Record<string, string> = {}): Promise<string> {
  const { status, body: batch } = await submit({ targets: ['web1'], ...body }, { token: owner, headers });
  expect(status, JSON.stringify(batch)).toBe(202);
  return end(batch.id as string);
}

async function end(id: string): Promise<string> {
  await byHand.proceed(id);
  const { state } = await byHand.end(await byHand.read(id), 'web1', 1);
  expect(state).toBe('failed');
  return id;
}

describe('a retry', () => {
  const scope = ['failed'];

  it('that an admin asks for belongs to the key of the first one, and the audit line names the admin', async () => {
    const callback_url = 'https://hooks.example.com/batches';
    const id = await failed({ unique_key: 'nightly', callback_url });
    const again = await order(id, 'retry', { scope }, {});
    expect(again.body).toMatchObject({ created_by: 'deploy', retry_of: id, unique_key: 'nightly' });
    const stored = await byHand.read(again.body.id as string);
    expect(stored).toMatchObject({ created_by: 'deploy', callback_url, job: { created_by: 'deploy' } });
    const line = api.log.map((text) => JSON.parse(text)).find(({ event }) => event === 'batch.retry');
    expect(line).toMatchObject({ key: 'admin', batch: again.body.id, retry_of: id, decision: 'allowed' });
    // At most one of the key is at work, whoever began it.
    const held = { status: 409, body: { code: 'unique_key_in_use', batch_id: again.body.id } };
    expect(await submit({ unique_key: 'nightly', on_duplicate: 'reject' })).toMatchObject(held);
    expect(await order(id, 'retry', { scope }, {})).toMatchObject(held);
  });

  it('is answered again under its own Idempotency-Key, whoever asked for it', async () => {
    const id = await failed({ unique_key: 'hourly' });
    const headers = { 'idempotency-key': '"again"' };
    const first = await order(id, 'retry', { scope }, { headers });
    const second = await order(id, 'retry', { scope }, { headers });
    expect([second.status, second.body.id]).toEqual([202, first.body.id]);
    expect(second.headers.get('idempotency-replayed')).toBe('true');
  });

  it("leaves the first one's Idempotency-Key alone when its record goes", async () => {
    const headers = { 'idempotency-key': '"once"' };
    const id = await failed({}, headers);
    const again = await end((await order(id, 'retry', { scope })).body.id as string);
    expect(await byHand.read(again)).not.toHaveProperty('idempotency');
    expect(await byHand.batches.remove(await byHand.read(again))).toBe(true);
    const repeated = await submit({ targets: ['web1'] }, { token: owner, headers });
    expect(repeated.body.id).toBe(id);
  });
});

describe('a resume', () => {
  /** The key of the name is changed for one that may do less. */
  async function narrowed(grants: Parameters<TestApi['key']>[1]): Promise<Options> {
    await api.apiKeys.revokeKey('deploy');
    return { token: await api.key('deploy', { scopes: SCOPES, ...grants }) };
  }

  /** Paused when its first host has begun, and the second one's job waits for it. */
  async function paused(): Promise<string> {
    const { id } = (await submit({ max_parallel: 2 })).body as { id: string };
    await byHand.proceed(id);
    await byHand.start(await byHand.read(id), 'web1');
    expect((await order(id, 'pause')).body).toMatchObject({
      state: 'paused',
      counts: { running: 1, queued: 1, unstarted: 1 },
    });
    return id;
  }

  it('is refused to a key that may not use hosts any more which have not started, and leaves it paused', async () => {
    const id = await paused();
    const less = await narrowed({ hosts: ['web1'] });
    const refused = await order(id, 'resume', {}, less);
    expect(refused).toMatchObject({
      status: 403,
      body: { code: 'forbidden', refused: 'web[2-3]', count: 2 },
    });
    expect((await byHand.read(id)).state).toBe('paused');
    expect(await order(id, 'resume', {}, {})).toMatchObject({ status: 200, body: { state: 'running' } });
  });

  it('is refused to a key that may not run as its user any more', async () => {
    const id = await paused();
    const refused = await order(id, 'resume', {}, await narrowed({ users: ['www'] }));
    expect(refused).toMatchObject({ status: 403, body: { field: 'job_user', refused: 'web[2-3]' } });
  });

  it('asks for no right on hosts that have begun, and for none on a batch that is over', async () => {
    const over = (await submit({})).body.id as string;
    expect((await order(over, 'cancel', {}, {})).body.state).toBe('canceled');
    const id = await paused();
    const less = await narrowed({ hosts: ['web2', 'web3'] });
    expect(await order(id, 'resume', {}, less)).toMatchObject({ status: 200, body: { state: 'running' } });
    expect(await order(over, 'resume', {}, less)).toMatchObject({
      status: 409,
      body: { code: 'batch_is_over' },
    });
  });

  it('goes on without a host that is not registered any more', async () => {
    const id = await paused();
    expect((await api.call('DELETE', '/v1/hosts/web3')).status).toBe(204);
    expect(await order(id, 'resume')).toMatchObject({ status: 200, body: { state: 'running' } });
  });
});
