/** What is acknowledged is on the replica, on a real one that is stopped, let go on, and missed in between. */
import { afterAll, afterEach, beforeAll, beforeEach, expect, it } from 'vitest';
import { parseRedisUrl } from '../../src/config/redis-url.ts';
import { createKeys } from '../../src/store/keys.ts';
import {
  type Acknowledged,
  acknowledging,
  createAcknowledging,
} from '../../src/store/redis/acknowledging.ts';
import { connectForRequests, type Redis } from '../../src/store/redis.ts';
import { withClient } from '../helpers/redis-process.ts';
import { type ReplicatedRedis, startReplicatedRedis } from '../helpers/redis-replica.ts';
import { until } from '../helpers/until.ts';

let server: ReplicatedRedis;
let redis: Redis;
let other: Redis;
let acknowledged: Acknowledged;
let told: string[];

beforeAll(async () => {
  server = await startReplicatedRedis();
});
afterAll(async () => {
  await server?.stop();
});
beforeEach(async () => {
  [redis, other] = [connect(), connect()];
  await Promise.all([redis.connect(), other.connect()]);
  told = [];
  const keys = createKeys('{sluice}');
  acknowledged = createAcknowledging({ redis, keys, replicas: 1, onChange: (change) => told.push(change) });
});
afterEach(async () => {
  redis.disconnect();
  other.disconnect();
  await server.replica.kill('SIGCONT');
  await server.linked();
});

function connect(): Redis {
  const client = connectForRequests(parseRedisUrl(server.url), 'test');
  client.on('error', () => undefined);
  return client;
}

const set = (key: string) => () => redis.set(key, 'there');
const onReplica = (key: string) => withClient(server.replica.reach, (client) => client.get(key));
const codeOf = (outcome: Promise<unknown>) =>
  outcome.then(
    () => 'acknowledged',
    ({ code, message }) => code ?? message,
  );
const calls = async (command: string) =>
  Number(new RegExp(`cmdstat_${command}:calls=(\\d+)`).exec(await other.info('commandstats'))?.[1] ?? 0);

it('what was acknowledged is on the replica', async () => {
  for (let i = 0; i < 50; i++) {
    await acknowledged(set(`key ${i}`));
    expect(await onReplica(`key ${i}`)).toBe('there');
  }
  expect(told).toEqual([]);
});

it('writes of one moment share one wait for the replica', async () => {
  const before = await calls('wait');
  await Promise.all(Array.from({ length: 500 }, (_, i) => acknowledged(set(`many ${i}`))));
  expect((await calls('wait')) - before).toBeLessThan(25);
  expect(await onReplica('many 499')).toBe('there');
});

it('without the replica nothing is acknowledged, soon nothing is written, and it goes on with it', async () => {
  await server.replica.kill('SIGSTOP');
  expect(await codeOf(acknowledged(set('first')))).toBe('not_acknowledged');
  expect(await codeOf(acknowledged(set('second')))).toBe('not_acknowledged');
  expect([await other.get('first'), await other.get('second')]).toEqual(['there', null]);
  expect(told).toEqual(['missing']);
  await server.replica.kill('SIGCONT');
  await until(async () => (await codeOf(acknowledged(set('second')))) === 'acknowledged');
  expect(await onReplica('second')).toBe('there');
  expect(told).toEqual(['missing', 'back']);
});

it('what is only found is acknowledged like what is written: another process may have written it', async () => {
  await server.replica.kill('SIGSTOP');
  await other.set('of another', 'there');
  expect(await codeOf(acknowledged(() => redis.get('of another')))).toBe('not_acknowledged');
});

it('who reads over another connection is not held up by a wait for the replica', async () => {
  await server.replica.kill('SIGSTOP');
  let isWaiting = true;
  const written = codeOf(acknowledged(set('slow'))).finally(() => {
    isWaiting = false;
  });
  await until(async () => (await other.get('slow')) === 'there');
  expect(isWaiting).toBe(true);
  expect(await written).toBe('not_acknowledged');
});

it('a connection that was lost after the write makes the answer of a new one worthless', async () => {
  const lost = acknowledged(async () => {
    await redis.set('before', 'there');
    redis.disconnect(true);
    await until(() => redis.status === 'reconnecting');
    await until(() => redis.status === 'ready');
  });
  expect(await codeOf(lost)).toBe('not_acknowledged');
  expect(await codeOf(acknowledged(set('after')))).toBe('acknowledged');
});

it('a Redis that is full says so before the write, and is no replica that is missing', async () => {
  await other.config('SET', 'maxmemory', '1mb');
  expect(await codeOf(acknowledged(set('full')))).toMatch(/^OOM/);
  await other.config('SET', 'maxmemory', '0');
  const between = acknowledged(async () => {
    await redis.set('just in', 'there');
    await other.config('SET', 'maxmemory', '1mb');
  });
  expect(await codeOf(between)).toBe('not_acknowledged');
  await other.config('SET', 'maxmemory', '0');
  expect(told).toEqual([]);
});

it('only the named methods of a store wait', async () => {
  const store = { write: set('of a store'), read: async (key: string) => redis.get(key) };
  const waits = acknowledging(store, ['write'], acknowledged);
  const before = await calls('wait');
  await waits.read('of a store');
  expect(await calls('wait')).toBe(before);
  await waits.write();
  expect(await calls('wait')).toBe(before + 1);
});
