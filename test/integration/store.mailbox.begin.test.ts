/** Takes that begin what they take: which jobs they move to `dispatching`, what is written of it, and who is told. */
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { Job } from '../../src/job/record.ts';
import { createFeed } from '../../src/store/feed.ts';
import { startRedis, type TestRedis } from '../helpers/redis.ts';
import { newJob, openStores, type Stores } from '../helpers/stores.ts';
import { until } from '../helpers/until.ts';

const BEGIN = { store_id: 'store-1', why: 'starting attempt 1' };

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

async function accept(host: string, fields: Partial<Job> = {}): Promise<Job> {
  await stores.hosts.contacted(host);
  const job = newJob({ host, command: 'true', ...fields });
  await stores.jobs.accept(job);
  return job;
}

async function take(host: string, { begin = BEGIN as typeof BEGIN | null, leaseMs = 10_000 } = {}) {
  const limits = { max_requests: 4, max_jobs: null, rate: null };
  const { claims } = await stores.mailbox.take(host, limits, { leaseMs, most: 100, revision: 0, begin });
  return claims;
}

describe('a job that only its host can keep from starting', () => {
  it('is moved by its take: record, event, indexes and deadline, as by any other move', async () => {
    const { id } = await accept('plain');
    const [claim] = await take('plain');
    const job = await stores.jobs.get(id);
    expect(claim).toMatchObject({ id, begun: true });
    expect(claim?.read()).toEqual(job);
    expect(job).toMatchObject({
      ...{ state: 'dispatching', version: 2, attempt: 1, started_by: 'full', store_id: 'store-1' },
      agent_job_id: `${id}-1`,
    });
    const [, event] = await stores.jobs.events(id);
    expect(event).toEqual({ version: 2, state: 'dispatching', at: job?.dispatched_at, why: BEGIN.why });
    const { keys } = stores;
    expect(await stores.redis.zscore(keys.jobsByState('queued'), id)).toBeNull();
    expect(await stores.redis.zscore(keys.jobsByState('dispatching'), id)).toBe('0');
    expect(await stores.redis.zscore(keys.activeJobs('plain'), id)).toBe('0');
    expect(await stores.redis.zscore(keys.deadlines, id)).toBeNull();
  });

  it('is announced as by any other move', async () => {
    const subscriber = stores.redis.duplicate();
    const feed = await createFeed({ ...stores, subscriber, hears: 'everything' });
    try {
      const { id } = await accept('announced');
      const latest = await feed.latest();
      const heard = new Promise((resolve) =>
        feed.onChange((change) => change.state === 'dispatching' && resolve(change)),
      );
      await take('announced');
      const change = {
        ...{ id, version: 2, state: 'dispatching', host: 'announced', owner: 'test' },
        type: 'job.dispatching',
      };
      expect(await heard).toEqual(change);
      expect(await feed.since(latest, 10)).toEqual([expect.objectContaining(change)]);
    } finally {
      await feed.close();
    }
  });

  it('goes on from there by the same moves as all others', async () => {
    await accept('onward');
    const [claim] = await take('onward');
    const job = claim?.read() as Job;
    expect(await stores.jobs.transition(job, 'dispatching', 'running', { why: 'test' })).toMatchObject({
      ...{ state: 'running', version: 3 },
    });
  });

  it('is given again as unsettled where who took it died, and is not begun twice', async () => {
    const { id } = await accept('died');
    await take('died', { leaseMs: 20 });
    const [again] = await until(async () => {
      const claims = await take('died');
      return claims.length > 0 && claims;
    });
    expect(again).toMatchObject({ id, begun: false });
    expect(again?.read()).toMatchObject({ state: 'dispatching', version: 2 });
  });

  it('counts once under max_jobs', async () => {
    await accept('counted');
    await accept('counted');
    const limits = { max_requests: 8, max_jobs: 1, rate: null };
    const options = { leaseMs: 10_000, most: 1, revision: 0, begin: BEGIN };
    expect((await stores.mailbox.take('counted', limits, options)).claims).toHaveLength(1);
    expect(await stores.mailbox.take('counted', limits, options)).toMatchObject({
      ...{ claims: [], limit: 'max_jobs' },
    });
    expect((await stores.mailbox.take('counted', { ...limits, max_jobs: 2 }, options)).claims).toHaveLength(
      1,
    );
  });
});

describe('the worker decides, and the take moves nothing', () => {
  const isLeft = async (host: string) => {
    const [claim] = await take(host);
    expect(claim).toMatchObject({ begun: false });
    const job = await stores.jobs.get(claim?.id as string);
    expect(claim?.read()).toEqual(job);
    expect(job?.state).toBe('queued');
  };

  it.each<[string, Partial<Job>]>([
    ['a unique key', { unique_key: 'one' }],
    ['an environment', { sealed_env: 'sealed' }],
    ['a shell', { shell: '/bin/sh' }],
    ['a working directory', { workdir: '/tmp' }],
    ['leftovers to be killed', { leftovers: 'kill' }],
    ['a terminal', { mode: 'tmux' }],
    ['a batch', { batch_id: 'batch_1', batch_index: 0 }],
    ['a deadline that has passed', { start_deadline_seconds: 0 }],
  ])('for %s', async (what, fields) => {
    const host = `decided-${what.replaceAll(' ', '-')}`;
    await accept(host, fields);
    await isLeft(host);
  });

  it('where it is not asked to', async () => {
    await accept('unasked');
    expect(await take('unasked', { begin: null })).toMatchObject([{ begun: false }]);
  });

  it('of a job that was put back: its attempt has begun before', async () => {
    await accept('back');
    const [claim] = await take('back');
    const job = claim?.read() as Job;
    await stores.jobs.transition(job, 'dispatching', 'queued', { eligible_at: 0, why: 'nothing was sent' });
    await isLeft('back');
  });

  it('while somebody is to be told of every move', async () => {
    await accept('told');
    await stores.redis.zadd(stores.keys.endpoints, 1, 'endpoint');
    await isLeft('told');
    await stores.redis.del(stores.keys.endpoints);
  });

  it('but a command that speaks of such a field is a command', async () => {
    await accept('spoken', { command: 'echo \'"shell":"workdir":\'' });
    expect(await take('spoken')).toMatchObject([{ begun: true }]);
  });
});
