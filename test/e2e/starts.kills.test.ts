/** Rows of the table of starts (`docs/starts.md`): a worker process is killed while it starts a job. */
import { randomBytes } from 'node:crypto';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll } from 'vitest';
import { startRedis, type TestRedis } from '../helpers/redis.ts';
import { describeRows } from '../helpers/starts.cases.ts';
import { type FleetAgent, startFleet } from '../helpers/starts.fleet.ts';
import { KILLS } from '../helpers/starts.kills.ts';
import { play } from '../helpers/starts.scene.ts';
import { COLUMNS, type Column } from '../helpers/starts.table.ts';
import { openStores } from '../helpers/stores.ts';

const secret = randomBytes(32);
let dir: string;
let redis: TestRedis;
let fleet: Map<Column, FleetAgent>;

beforeAll(async () => {
  dir = await mkdtemp(join(tmpdir(), 'sluice-starts-'));
  await writeFile(join(dir, 'secret.key'), `${secret.toString('base64')}\n`, { mode: 0o600 });
  [redis, fleet] = await Promise.all([startRedis(), startFleet()]);
});
afterAll(async () => {
  for (const agent of fleet?.values() ?? []) await agent.close();
  await redis?.stop();
  await rm(dir, { recursive: true, force: true });
});

const moments = Object.keys(KILLS);
describeRows(moments, async (moment, column) => {
  // A gateway of its own, so that nobody but the victim can take the job.
  const prefix = `{starts-${moments.indexOf(moment)}-${COLUMNS.indexOf(column)}}`;
  const stores = await openStores(redis.url, { prefix, secret });
  const env = {
    REDIS_URL: redis.url,
    SLUICE_PREFIX: prefix,
    SLUICE_SECRET_KEY_FILE: join(dir, 'secret.key'),
    SLUICE_API_KEY: randomBytes(16).toString('hex'),
  };
  try {
    const gateway = { stores, redisUrl: redis.url, prefix, env };
    return await play(KILLS[moment]!(gateway), {
      ...{ stores, host: 'web1', agent: fleet.get(column)!, known: false },
    });
  } finally {
    await stores.close();
  }
});
