/** Hosts that are not what they were: another agent behind the same name, or none ever again. */
import { afterAll, beforeAll, expect, it } from 'vitest';
import type { Workers } from '../../src/workers/main.ts';
import { type BaseAgent, startBaseAgent } from '../helpers/base-agent.ts';
import { type RealAgent, startRealAgent } from '../helpers/real-agent.ts';
import { startRedis, type TestRedis } from '../helpers/redis.ts';
import { newJob, openStores, type Stores } from '../helpers/stores.ts';
import { endOf, runToEnd, startTestWorkers, stateOf } from '../helpers/workers.ts';

let redis: TestRedis;
let stores: Stores;
let workers: Workers;
let full: RealAgent;
let base: BaseAgent;

const at = ({ address, token, fingerprint }: { address: string; token: string; fingerprint: string }) => ({
  address,
  token,
  tls: { fingerprint },
});

beforeAll(async () => {
  [redis, full, base] = await Promise.all([
    startRedis(),
    startRealAgent(),
    startBaseAgent({ generation: 'A', rate: null }),
  ]);
  stores = await openStores(redis.url);
  workers = await startTestWorkers(redis.url, stores);
});
afterAll(async () => {
  await workers?.close();
  await base?.close();
  await full?.stop();
  await stores?.close();
  await redis?.stop();
});

it('a job of a Full agent whose host has a Base agent by now is unreachable, then lost, and the host stays up', async () => {
  await stores.hosts.put('swapped', at(full));
  const fields = { host: 'swapped', command: 'sleep 60', poll_interval: 1, lost_after_seconds: 5 };
  const { id } = await stores.submit(newJob(fields));
  await stateOf(stores, id, 'running');
  await stores.hosts.put('swapped', at(base));
  await stores.wake.follow('swapped');
  await stateOf(stores, id, 'unreachable', 45_000);
  expect(await endOf(stores, id, 45_000)).toMatchObject({ state: 'lost', outcome: { kind: 'silent' } });
  expect(await stores.hosts.health('swapped')).toMatchObject({ status: 'up' });
  expect(await runToEnd(stores, { host: 'swapped', command: 'exit 6' })).toMatchObject({
    started_by: 'base+launcher',
    outcome: { return_code: 6 },
  });
}, 120_000);

it('a start whose reply was lost with its host ends in lost, and does not keep the host from being removed', async () => {
  await stores.hosts.remove('swapped');
  await stores.hosts.put('gone', at(base));
  await runToEnd(stores, { host: 'gone', command: 'true' });
  base.fault('/run', { kind: 'reset', when: 'after' });
  const { id } = await stores.submit(newJob({ host: 'gone', command: 'sleep 1', lost_after_seconds: 6 }));
  await stateOf(stores, id, 'dispatching');
  await base.stopListening();
  expect(await endOf(stores, id, 90_000)).toMatchObject({
    state: 'lost',
    outcome: { kind: 'ambiguous_start' },
  });
}, 120_000);
