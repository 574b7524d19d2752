/** Commands of one turn go to Redis in one write, and stay what they are. */
import { afterAll, beforeAll, expect, it } from 'vitest';
import { parseRedisUrl } from '../../src/config/redis-url.ts';
import { connectForRequests, type Redis } from '../../src/store/redis.ts';
import { startRedis, type TestRedis } from '../helpers/redis.ts';
import { until } from '../helpers/until.ts';

let redis: TestRedis;
let client: Redis;

beforeAll(async () => {
  redis = await startRedis();
  client = connectForRequests(parseRedisUrl(redis.url), 'test');
  client.on('error', () => undefined);
  await client.connect();
});
afterAll(async () => {
  client?.disconnect();
  await redis?.stop();
});

it('writes the commands of a turn at once, each with its own reply or error', async () => {
  let writes = 0;
  const write = client.stream.uncork.bind(client.stream);
  client.stream.uncork = () => {
    writes++;
    write();
  };
  const settled = await Promise.allSettled([
    client.set('a', '1'),
    client.hget('a', 'field'),
    client.incr('a'),
    client.pipeline().get('a').get('none').exec(),
    ...Array.from({ length: 100 }, (_, i) => client.set(`k${i}`, i)),
  ]);
  expect(writes).toBe(1);
  expect(settled.slice(0, 4)).toMatchObject([
    { value: 'OK' },
    { reason: expect.objectContaining({ message: expect.stringContaining('WRONGTYPE') }) },
    { value: 2 },
    {
      value: [
        [null, '2'],
        [null, null],
      ],
    },
  ]);
});

it('sends what was under way on a connection that breaks over the next one', async () => {
  const underWay = client.set('b', '1');
  client.stream.destroy();
  expect(await underWay).toBe('OK');
  await until(() => client.status === 'ready');
  expect(await client.get('b')).toBe('1');
});
