import { afterAll, beforeAll, expect, test } from 'vitest';
import { createCalling } from '../../src/api/calling.ts';
import { createBudget } from '../../src/store/budget.ts';
import { createInSlot } from '../../src/store/slots/in-slot.ts';
import { startRedis, type TestRedis } from '../helpers/redis.ts';
import { openStores, type Stores } from '../helpers/stores.ts';

let redis: TestRedis;
let stores: Stores;

beforeAll(async () => {
  redis = await startRedis();
  stores = await openStores(redis.url);
});
afterAll(async () => {
  await stores?.close();
  await redis?.stop();
});

test('a host whose circuit is open is not asked, but for a check', async () => {
  const { hosts, slots } = stores;
  const { host } = await hosts.put('web1', { address: '127.0.0.1:18443', token: 't' });
  const calling = createCalling({ hosts, inSlot: createInSlot({ slots }), budget: createBudget(stores) });
  await hosts.failed('web1', { status: 'unreachable', cause: 'no route', remedy: null });
  let asked = 0;
  const request = async () => ++asked;

  await expect(calling.call(host, request)).rejects.toMatchObject({
    code: 'agent_unreachable',
    message: 'web1 is not asked for now: no route',
  });
  expect(asked).toBe(0);
  expect(await calling.call(host, request, { evenIfDown: true })).toBe(1);
});
