/**
 * Jobs that run, by the ten thousand: put into the store by its own functions, as API and worker would, and started
 * at their simulated hosts directly, so that only what comes afterwards is measured. They began an hour ago, so
 * that nobody asks about them more often than every `poll_interval`.
 */
import { ulid } from 'ulid';
import { Agent } from 'undici';
import { parseRedisUrl } from '../src/config/redis-url.ts';
import { nextQuestionAt } from '../src/job/pace.ts';
import { type Job, launchToken, NOT_STARTED } from '../src/job/record.ts';
import { createFollowed } from '../src/store/followed.ts';
import { USUAL } from '../src/store/jobs/codec.ts';
import { createJobStore } from '../src/store/jobs.ts';
import { createKeys } from '../src/store/keys.ts';
import { createQueues } from '../src/store/queues.ts';
import { connectForBlocking } from '../src/store/redis.ts';
import type { SimulatedFleet } from '../test/helpers/simulated-agents.ts';

/** 150 bytes that the simulated hosts understand as an hour and a half. */
const COMMAND = 'sleep 5400.'.padEnd(150, '0');
const POLL_SECONDS = 30;
const AGE_MS = 3_600_000;
/** Hosts that are given their jobs at the same time. */
const AT_ONCE = 50;

export async function createRunningJobs(redisUrl: string, fleet: SimulatedFleet) {
  const redis = connectForBlocking(parseRedisUrl(redisUrl), 'bench');
  await redis.connect();
  const keys = createKeys('{sluice}');
  const nothing = () => undefined;
  const jobs = createJobStore({ redis, keys, onTold: nothing, onFreed: nothing, onBatchDue: nothing });
  const followed = createFollowed({ redis, keys });
  const { wake, close } = createQueues(redis, keys.queuePrefix);
  const http = new Agent({ connect: { rejectUnauthorized: false }, connections: 1, keepAliveTimeout: 4_000 });

  async function start(i: number): Promise<void> {
    const host = fleet.hosts[i]!.name;
    const wanted = request(host, i);
    const accepted = await jobs.accept(wanted, { key: wanted.id, fingerprint: 'f'.repeat(43) });
    if (accepted.kind !== 'accepted') throw new Error(`a job was ${accepted.kind}`);
    const token = launchToken({ id: wanted.id, attempt: 1 });
    const { store_id } = (await call(i, '/ping', {})) as { store_id: string };
    const dispatching = await jobs.transition(accepted.job, 'queued', 'dispatching', {
      ...{ attempt: 1, started_by: 'full', agent_job_id: token, store_id },
      dispatched_at: Date.now() - AGE_MS,
      why: 'starting attempt 1',
    });
    await call(i, '/run', { job_id: token, command: COMMAND });
    if (!dispatching) throw new Error('a job was moved by somebody else');
    await jobs.transition(dispatching, 'dispatching', 'running', {
      ...{ started_at: Date.now() - AGE_MS, stdout_bytes: 0, stderr_bytes: 0 },
      next_poll_at: nextQuestionAt(await jobs.now(), POLL_SECONDS * 1_000, host),
      why: 'started',
    });
  }

  async function call(i: number, path: string, body: object): Promise<unknown> {
    const { address, token } = fleet.hosts[i]!;
    const reply = await http.request({
      origin: `https://${address}`,
      method: 'POST',
      path,
      headers: { 'x-agent-token': token, 'content-type': 'application/json' },
      body: JSON.stringify(body),
    });
    if (reply.statusCode !== 200) throw new Error(`${path}: ${reply.statusCode}`);
    return reply.body.json();
  }

  return {
    redis,
    keys,
    /** So many more at every host. */
    async add(each: number): Promise<void> {
      let next = 0;
      const one = async () => {
        for (let i = next++; i < fleet.hosts.length; i = next++) {
          for (let n = 0; n < each; n++) await start(i);
        }
      };
      await Promise.all(Array.from({ length: AT_ONCE }, one));
    },
    /** Has every host's jobs followed by whatever worker there is, from their next turn on. */
    async follow(): Promise<void> {
      for (const { name } of fleet.hosts) {
        const at = nextQuestionAt(await jobs.now(), POLL_SECONDS * 1_000, name);
        await followed.askAt(name, new Map((await followed.of(name)).map((id) => [id, at])));
        await wake.follow(name);
      }
    },
    async close(): Promise<void> {
      await http.destroy();
      await close();
      redis.disconnect();
    },
  };
}

function request(host: string, i: number): Job {
  const created_at = Date.now();
  return {
    ...NOT_STARTED,
    ...USUAL,
    id: `job_${ulid(created_at)}`,
    target_server: host,
    host,
    command: COMMAND,
    poll_interval: POLL_SECONDS,
    labels: { dag_id: 'nightly', run_id: 'scheduled__2026-11-22', task_id: `load_${i}` },
    created_by: 'bench',
    created_at,
    state: 'queued',
    version: 1,
  };
}
