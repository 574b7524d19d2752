/** `waiting`: what 10,000 waiting jobs cost in Redis and in each process. */
import { parseRedisUrl } from '../src/config/redis-url.ts';
import { connectForBlocking } from '../src/store/redis.ts';
import { createRig } from './rig.ts';
import type { Row } from './table.ts';

const JOBS = 10_000;
const HOSTS = 100;
const AT_ONCE = 50;

export async function run(): Promise<Row[]> {
  const rig = await createRig();
  const redis = connectForBlocking(parseRedisUrl(rig.redis.url), 'bench');
  await redis.connect();
  try {
    const api = await rig.api();
    const worker = await rig.worker();
    for (let i = 0; i < HOSTS; i++) {
      const host = { address: `127.0.0.1:${20_000 + i}`, token: 'bench', tls: { insecure: true } };
      await rig.call('PUT', `/v1/hosts/host${i}`, host);
    }
    await submit(rig, 500);
    const before = { redis: await used(), api: api.rss(), worker: worker.rss() };
    await submit(rig, JOBS);
    const after = { redis: await used(), api: api.rss(), worker: worker.rss() };
    return (['redis', 'api', 'worker'] as const).map((process) => ({
      process,
      'before, MB': (before[process] / 1e6).toFixed(1),
      [`with ${JOBS} more jobs, MB`]: (after[process] / 1e6).toFixed(1),
      'bytes per job': Math.round((after[process] - before[process]) / JOBS),
    }));
  } finally {
    redis.disconnect();
    await rig.stop();
  }

  async function used(): Promise<number> {
    return Number(/used_memory:(\d+)/.exec(await redis.info('memory'))?.[1]);
  }
}

/** Jobs that wait for tomorrow, each with an idempotency key, three labels and a command of 150 bytes. */
async function submit(rig: Awaited<ReturnType<typeof createRig>>, count: number): Promise<void> {
  const not_before = new Date(Date.now() + 86_400_000).toISOString();
  let next = 0;
  await Promise.all(
    Array.from({ length: AT_ONCE }, async () => {
      while (next < count) {
        const i = next++;
        const body = {
          target_server: `host${i % HOSTS}`,
          command: 'x'.repeat(150),
          labels: { dag_id: 'nightly', run_id: 'scheduled__2026-11-22', task_id: `load_${i}` },
          not_before,
        };
        const key = { 'idempotency-key': `"${count}-${i}"` };
        const { status } = await rig.call('POST', '/v1/jobs', body, key);
        if (status !== 202) throw new Error(`job ${i}: ${status}`);
      }
    }),
  );
}
