/** A Base host on which the launcher finds no room: nothing is wrong with its jobs. */
import { chmod, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, it } from 'vitest';
import type { Workers } from '../../src/workers/main.ts';
import { type BaseAgent, startBaseAgent } from '../helpers/base-agent.ts';
import { startRedis, type TestRedis } from '../helpers/redis.ts';
import { newJob, openStores, type Stores } from '../helpers/stores.ts';
import { until } from '../helpers/until.ts';
import { endOf, startTestWorkers } from '../helpers/workers.ts';

let redis: TestRedis;
let stores: Stores;
let workers: Workers;
let agent: BaseAgent;
let tools: string;

/** While `full` is there, no directory can be made, as on a full disk. */
const MKDIR = `#!/bin/sh
[ -e "\${0%/*}/full" ] && exit 1
PATH=\${PATH#*:} exec mkdir "$@"
`;

beforeAll(async () => {
  tools = await mkdtemp(join(tmpdir(), 'no-room-'));
  await writeFile(join(tools, 'mkdir'), MKDIR);
  await chmod(join(tools, 'mkdir'), 0o755);
  await writeFile(join(tools, 'full'), '');
  const env = { PATH: `${tools}:${process.env.PATH}` };
  [redis, agent] = await Promise.all([startRedis(), startBaseAgent({ generation: 'B', rate: null, env })]);
  stores = await openStores(redis.url);
  const { address, token, fingerprint } = agent;
  await stores.hosts.put('full', { address, token, tls: { fingerprint } });
  workers = await startTestWorkers(redis.url, stores);
});

afterAll(async () => {
  await workers?.close();
  await agent?.close();
  await stores?.close();
  await redis?.stop();
  await rm(tools, { recursive: true, force: true });
});

it('keeps its jobs queued, says what is wrong, and starts them once there is room', async () => {
  const jobs = [];
  for (const code of [0, 3]) {
    jobs.push(await stores.submit(newJob({ host: 'full', command: `exit ${code}` })));
  }
  const health = await until(async () => {
    const found = await stores.hosts.health('full');
    return found.status === 'misconfigured' && found;
  });
  expect(health.cause).toContain('/var/tmp can be written');
  // Without the launcher jobs would be lost to what a little room mends.
  expect(health.remedy).toMatch(/full disk; jobs wait.* Only where it cannot have the tools/);
  for (const { id } of jobs) expect(await stores.jobs.get(id)).toMatchObject({ state: 'queued', attempt: 0 });
  await rm(join(tools, 'full'));
  expect(await endOf(stores, jobs[0]!.id, 40_000)).toMatchObject({ state: 'succeeded', attempt: 1 });
  expect(await endOf(stores, jobs[1]!.id, 40_000)).toMatchObject({ outcome: { return_code: 3 } });
  expect(await stores.hosts.health('full')).toMatchObject({ status: 'up', cause: null });
});

it('is left alone for a while when its agent answers a probe with an error, and says so', async () => {
  agent.fault('/run', { kind: 'reply', status: 500, body: '{"error":"no space left"}' }, 1_000);
  const { address, token, fingerprint } = agent;
  await stores.hosts.remove('full');
  await stores.hosts.put('failing', { address, token, tls: { fingerprint } });
  const before = agent.requests['/run'] ?? 0;
  // A user of its own, whose directory has not been proven yet.
  const { id } = await stores.submit(newJob({ host: 'failing', command: 'true', job_user: 'root' }));
  const { cause } = await until(async () => {
    const health = await stores.hosts.health('failing');
    return health.status === 'suspect' && health;
  });
  expect(cause).toContain('no space left');
  expect((agent.requests['/run'] ?? 0) - before).toBeLessThanOrEqual(3);
  expect(await stores.jobs.get(id)).toMatchObject({ state: 'queued' });
  agent.mend();
  expect(await endOf(stores, id, 40_000)).toMatchObject({ state: 'succeeded' });
});
