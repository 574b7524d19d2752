/** `POST /v1/batches` and what follows from it: a gateway with workers, four real agents, and a host where nobody listens. */
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { parseRedisUrl } from '../../src/config/redis-url.ts';
import { type GatewayParts, startGatewayParts } from '../helpers/gateway-parts.ts';
import { type RealAgent, startRealAgent } from '../helpers/real-agent.ts';
import { freePort, startRedis, type TestRedis } from '../helpers/redis.ts';
import { until } from '../helpers/until.ts';

const HOSTS = 4;
let redis: TestRedis;
let gateway: GatewayParts;
let agents: RealAgent[] = [];

beforeAll(async () => {
  redis = await startRedis();
  gateway = await startGatewayParts(parseRedisUrl(redis.url));
  agents = await Promise.all(Array.from({ length: HOSTS }, () => startRealAgent()));
  for (const [i, { address, token, fingerprint }] of agents.entries()) {
    const labels = { tier: 'web', side: i % 2 === 0 ? 'a' : 'b' };
    await gateway.call('PUT', `/v1/hosts/web${i + 1}`, { address, token, tls: { fingerprint }, labels });
  }
  await gateway.call('PUT', '/v1/hosts/gone', { address: `127.0.0.1:${await freePort()}`, token: 't' });
});
afterAll(async () => {
  await gateway?.close();
  await Promise.all(agents.map((agent) => agent.stop()));
  await redis?.stop();
});

type Batch = {
  id: string;
  state: string;
  version: number;
  counts: Record<string, number>;
  total: number;
} & Record<string, unknown>;
const submit = (body: object, headers: Record<string, string> = {}, query = '') =>
  gateway.call('POST', `/v1/batches${query}`, body, headers);
const order = (id: string, verb: string, body?: object) =>
  gateway.call('POST', `/v1/batches/${id}:${verb}`, body);
async function read(id: string): Promise<Batch> {
  return (await gateway.call('GET', `/v1/batches/${id}`)).body as Batch;
}
async function begin(body: object): Promise<Batch> {
  const { status, body: batch } = await submit(body);
  expect(status, JSON.stringify(batch)).toBe(202);
  return batch as Batch;
}
async function endOf(id: string): Promise<Batch> {
  const { body } = await gateway.call('GET', `/v1/batches/${id}?wait=30`);
  return body as Batch;
}
const items = async (path: string) =>
  (await gateway.call('GET', path)).body.items as Record<string, unknown>[];

describe('a batch', () => {
  it('runs its command once on each host, and says what each said, folded', async () => {
    const { id, counts } = await begin({
      targets: ['web[1-4]'],
      command: 'echo hello; [ "$SLUICE_TEST" = 7 ]',
      env: { SLUICE_TEST: '7' },
    });
    expect(counts).toMatchObject({ unstarted: 4 });
    const over = await endOf(id);
    expect(over).toMatchObject({ state: 'succeeded', total: 4, counts: { succeeded: 4, unstarted: 0 } });
    const end = { state: 'succeeded', return_code: 0, outcome: 'exit', message: null };
    expect(await items(`/v1/batches/${id}/output`)).toEqual([
      { hosts: 'web[1-4]', count: 4, ...end, stdout: 'hello\n', stderr: '' },
    ]);
    const jobs = await items(`/v1/batches/${id}/jobs`);
    expect(jobs.map(({ host, batch_id }) => [host, batch_id])).toEqual(
      ['web1', 'web2', 'web3', 'web4'].map((host) => [host, id]),
    );
  });

  it('keeps hosts apart that ended or wrote otherwise, the largest group first', async () => {
    const { id } = await begin({
      selector: { tier: 'web' },
      command: 'if [ "$SLUICE_JOB_ID" ] && hostname >/dev/null; then :; fi; test -e /nonexistent',
      exclude: ['web4'],
    });
    expect(await endOf(id)).toMatchObject({ state: 'failed', counts: { failed: 3 } });
    expect(await items(`/v1/batches/${id}/output`)).toMatchObject([
      { hosts: 'web[1-3]', count: 3, state: 'failed', return_code: 1 },
    ]);
    expect(await items(`/v1/batches/${id}/jobs?state=succeeded`)).toEqual([]);
    expect(await items(`/v1/batches/${id}/jobs?state=failed&page_size=2`)).toHaveLength(2);
  });

  it('is rehearsed without anything being started', async () => {
    const { status, body } = await submit(
      { targets: ['gone'], selector: { side: 'a' }, command: 'true' },
      {},
      '?dry_run=true',
    );
    expect([status, body]).toEqual([200, { targets: ['gone', 'web1', 'web3'], total: 3 }]);
  });

  it('is answered again under its Idempotency-Key, and refused with another body', async () => {
    const key = { 'idempotency-key': '"once"' };
    const first = await submit({ targets: ['web1'], command: 'true' }, key);
    const again = await submit({ targets: ['web1'], command: 'true' }, key);
    expect(again.body.id).toBe(first.body.id);
    const other = await submit({ targets: ['web2'], command: 'true' }, key);
    expect(other).toMatchObject({ status: 422, body: { code: 'idempotency_key_reused' } });
  });
});

describe('what is ordered of a batch', () => {
  it('waits between its waves until it is resumed', async () => {
    const { id } = await begin({
      targets: ['web[1-4]'],
      command: 'true',
      waves: [1, '50%'],
      wave_pause_seconds: null,
    });
    const first = await until(async () => {
      const batch = await read(id);
      return batch.state === 'paused' ? batch : null;
    });
    expect(first).toMatchObject({ awaits_wave: true, wave: 1, counts: { succeeded: 1, unstarted: 3 } });
    await order(id, 'resume');
    const second = await until(async () => {
      const batch = await read(id);
      return batch.state === 'paused' ? batch : null;
    });
    expect(second).toMatchObject({ wave: 2, counts: { succeeded: 3, unstarted: 1 } });
    await order(id, 'resume');
    expect(await endOf(id)).toMatchObject({ state: 'succeeded', counts: { succeeded: 4 } });
  });

  it('stops at its limit, and a retry runs just what failed and what was never started', async () => {
    const { id } = await begin({
      targets: ['web[1-4]'],
      command: 'exit 3',
      max_parallel: 1,
      max_failures: 1,
    });
    expect(await endOf(id)).toMatchObject({
      state: 'stopped',
      stopped_because: 'max_failures',
      counts: { failed: 2, unstarted: 2 },
    });
    const wrong = await order(id, 'retry', { scope: ['timed_out'] });
    expect(wrong).toMatchObject({ status: 400, body: { field: 'scope' } });
    const { status, body } = await order(id, 'retry', { scope: ['unstarted'] });
    expect([status, body.retry_of, body.total]).toEqual([202, id, 2]);
    const again = await endOf(body.id as string);
    const hosts = (await items(`/v1/batches/${again.id}/jobs`)).map(({ host }) => host);
    expect(hosts).toEqual(['web3', 'web4']);
  });

  it('is repeated with labels of its own where the retry has some, else with its own', async () => {
    const labels = { dag: 'nightly', try: '1' };
    const { id } = await begin({ targets: ['web1'], command: 'exit 3', labels });
    await endOf(id);
    const second = (await order(id, 'retry', { scope: ['failed'] })).body as Batch;
    expect(second.labels).toEqual(labels);
    await endOf(second.id);
    const third = await order(second.id, 'retry', { scope: ['failed'], labels: { ...labels, try: '3' } });
    expect(third.body).toMatchObject({ labels: { dag: 'nightly', try: '3' }, retry_of: second.id });
  });

  it('is listed by its state', async () => {
    const labels = { listed: 'by state' };
    const over = await begin({ targets: ['web1'], command: 'true', labels });
    await endOf(over.id);
    const { id } = await begin({ targets: ['web1'], command: 'sleep 600', labels });
    const listed = async (query: string) =>
      (await items(`/v1/batches?label=listed:by%20state&${query}`)).map((batch) => batch.id);
    expect(await listed('state=running,paused')).toEqual([id]);
    expect(await listed('state=succeeded')).toEqual([over.id]);
    expect(await listed('')).toEqual([id, over.id]);
    const unknown = await gateway.call('GET', '/v1/batches?state=done');
    expect(unknown).toMatchObject({ status: 400, body: { field: 'state' } });
    await order(id, 'cancel');
    await endOf(id);
  });

  it('is canceled with proof: what ran is dead, what did not begin never will', async () => {
    const { id } = await begin({ targets: ['web[1-4]'], command: 'sleep 600', max_parallel: 2 });
    await until(async () => (await read(id)).counts.running === 2);
    expect(await order(id, 'retry', { scope: ['unstarted'] })).toMatchObject({
      status: 409,
      body: { code: 'batch_not_over' },
    });
    expect((await order(id, 'cancel', { reason: 'a test' })).body.state).toBe('canceling');
    expect(await endOf(id)).toMatchObject({ state: 'canceled', counts: { canceled: 2, unstarted: 2 } });
    expect(await order(id, 'cancel')).toMatchObject({ status: 409, body: { code: 'batch_is_over' } });
  });

  it('is paused and resumed', async () => {
    const { id } = await begin({ targets: ['web[1-4]'], command: 'sleep 0.3', max_parallel: 1 });
    expect((await order(id, 'pause')).body.state).toBe('paused');
    await until(async () => (await read(id)).counts.running === 0 && (await read(id)).counts.queued === 0);
    const { counts } = await read(id);
    expect(counts.unstarted).toBeGreaterThan(0);
    await order(id, 'resume');
    expect(await endOf(id)).toMatchObject({ state: 'succeeded', counts: { succeeded: 4 } });
  });
});

describe('a unique key of batches', () => {
  it('attaches, refuses, or replaces what is at work', async () => {
    const body = { targets: ['web1'], command: 'sleep 600', unique_key: 'nightly' };
    const first = await begin(body);
    const attached = await submit({ ...body, command: 'true' });
    expect(attached.body).toMatchObject({ id: first.id, attached: true });
    // Repeated later, a request is answered with what it was answered with.
    const key = { 'idempotency-key': '"attached"' };
    expect((await submit(body, key)).body).toMatchObject({ id: first.id, attached: true });
    const refused = await submit({ ...body, on_duplicate: 'reject' });
    expect(refused).toMatchObject({ status: 409, body: { code: 'unique_key_in_use', batch_id: first.id } });
    const second = await begin({ ...body, command: 'true', on_duplicate: 'replace' });
    expect(second.replaces).toBe(first.id);
    expect(await endOf(second.id)).toMatchObject({ state: 'succeeded' });
    expect(await read(first.id)).toMatchObject({ state: 'canceled' });
    expect((await submit(body, key)).body).toMatchObject({ id: first.id, attached: true });
  });

  it('is held by a retry, which is refused while another one holds it', async () => {
    const body = {
      targets: ['web[1-2]'],
      command: 'test -e /nonexistent || sleep 600',
      unique_key: 'weekly',
    };
    const first = await begin(body);
    await order(first.id, 'cancel');
    await endOf(first.id);
    const scope = ['canceled', 'unstarted'];
    const again = (await order(first.id, 'retry', { scope })).body as Batch;
    expect(again).toMatchObject({ unique_key: 'weekly', retry_of: first.id });
    const refused = await order(first.id, 'retry', { scope });
    expect(refused).toMatchObject({ status: 409, body: { code: 'unique_key_in_use', batch_id: again.id } });
    const last = await begin({ ...body, command: 'true', on_duplicate: 'replace' });
    expect(last.replaces).toBe(again.id);
    expect(await endOf(last.id)).toMatchObject({ state: 'succeeded' });
    expect(await read(again.id)).toMatchObject({ state: 'canceled' });
  });
});
