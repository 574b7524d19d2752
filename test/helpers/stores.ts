/** The stores of one gateway on a test's Redis, as a program would open them, and jobs to put into them. */
import { randomBytes } from 'node:crypto';
import { monotonicFactory } from 'ulid';
import { parseRedisUrl } from '../../src/config/redis-url.ts';
import { type Job, NOT_STARTED } from '../../src/job/record.ts';
import { createFollowed } from '../../src/store/followed.ts';
import { createHostStore } from '../../src/store/hosts.ts';
import { createCancel } from '../../src/store/jobs/cancel.ts';
import { USUAL } from '../../src/store/jobs/codec.ts';
import { createLineStore } from '../../src/store/jobs/line.ts';
import { createSucceed } from '../../src/store/jobs/succession.ts';
import { createJobStore } from '../../src/store/jobs.ts';
import { createKeys } from '../../src/store/keys.ts';
import { createLeases } from '../../src/store/leases.ts';
import { createMailbox } from '../../src/store/mailbox.ts';
import { createQueues } from '../../src/store/queues.ts';
import { connectForBlocking } from '../../src/store/redis.ts';
import { createSealer } from '../../src/store/sealing.ts';
import { createSlotStore } from '../../src/store/slots.ts';

export type Stores = Awaited<ReturnType<typeof openStores>>;

export async function openStores(redisUrl: string, options: { prefix?: string; secret?: Buffer } = {}) {
  const redis = connectForBlocking(parseRedisUrl(redisUrl), 'test');
  redis.on('error', () => undefined);
  await redis.connect();
  const keys = createKeys(options.prefix ?? '{sluice}');
  const sealer = createSealer(options.secret ?? randomBytes(32));
  const { wake, schedules, close } = createQueues(redis, keys.queuePrefix);
  const stored = { redis, keys };
  const jobs = createJobStore({
    ...stored,
    onTold: () => undefined,
    onFreed: (host) => void wake.dispatch(host).catch(() => undefined),
    onBatchDue: (batch) => void wake.batch(batch).catch(() => undefined),
  });
  const cancel = createCancel({ jobs, wake });
  const lines = createLineStore(stored);
  return {
    redis,
    keys,
    sealer,
    wake,
    schedules,
    jobs,
    cancel,
    lines,
    succeed: createSucceed({ jobs, lines, cancel, wake }),
    hosts: createHostStore({ ...stored, sealer, patterns: [] }),
    mailbox: createMailbox(stored),
    followed: createFollowed(stored),
    leases: createLeases(stored),
    slots: createSlotStore(stored),
    /** Accepts a job and wakes the dispatcher, as the API does. */
    async submit(job: Job): Promise<Job> {
      const accepted = await jobs.accept(job);
      if (accepted.kind !== 'accepted') throw new Error(`the job was ${accepted.kind}`);
      if (accepted.wake) await wake.dispatch(job.host);
      return accepted.job;
    },
    async close() {
      await close();
      await redis.quit();
    },
  };
}

const ulid = monotonicFactory();

/** A job as the API would make it of a request with only these fields. */
export function newJob(fields: Partial<Job> & Pick<Job, 'host' | 'command'>): Job {
  const created_at = Date.now();
  return {
    id: `job_${ulid(created_at)}`,
    ...USUAL,
    target_server: fields.host,
    labels: {},
    created_by: 'test',
    created_at,
    ...NOT_STARTED,
    state: 'queued',
    version: 1,
    ...fields,
  };
}
