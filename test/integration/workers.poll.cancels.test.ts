/** A poll that outlasts its time, because a cancel waits for the grace of its job. */
import { pino } from 'pino';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { createAgentPort } from '../../src/net/agents.ts';
import { createBudget } from '../../src/store/budget.ts';
import { createContact } from '../../src/workers/contact.ts';
import { createPoll } from '../../src/workers/follow/poll.ts';
import { startRedis, type TestRedis } from '../helpers/redis.ts';
import { newJob, openStores, type Stores } from '../helpers/stores.ts';
import { until } from '../helpers/until.ts';

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

/** A job that a Full agent runs, due for a question. */
async function runningJob(): Promise<string> {
  const job = await stores.submit(newJob({ host: 'slow', command: 'true' }));
  const starting = await stores.jobs.transition(job, 'queued', 'dispatching', { attempt: 1, why: 'a test' });
  if (!starting) throw new Error('it was moved by somebody else');
  const change = { started_by: 'full', next_poll_at: Date.now(), why: 'a test' } as const;
  await stores.jobs.transition(starting, 'dispatching', 'running', change);
  return job.id;
}

it('goes on asking about the other jobs, and cancels them', async () => {
  await stores.hosts.put('slow', { address: '127.0.0.1:1', token: 't' });
  const log = pino({ level: 'silent' });
  const agents = createAgentPort();
  const contact = createContact({ ...stores, agents, budget: createBudget(stores), log });
  const asked = new Map<string, number>();
  const canceled: string[] = [];
  const graces: (() => void)[] = [];
  const poll = createPoll({
    ...{ ...stores, contact, log, owner: 'a test', longestMs: 100 },
    stopping: new AbortController().signal,
    ask: async ({ name }, { running }) => {
      for (const { id } of running) asked.set(id, (asked.get(id) ?? 0) + 1);
      await stores.followed.askAt(name, new Map(running.map(({ id }) => [id, Date.now() + 50])));
    },
    deliverCancel: async (_target, job) => {
      canceled.push(job.id);
      await new Promise<void>((resolve) => graces.push(resolve));
      await stores.followed.forget(job.host, [job.id]);
    },
  });
  const order = { signal: 'TERM', grace_seconds: 600, reason: null } as const;
  const stubborn = await runningJob();
  await stores.cancel(stubborn, order, 'test');

  const began = Date.now();
  const polling = poll('slow');
  await until(() => canceled.includes(stubborn) && Date.now() > began + 300);
  const [another, short] = [await runningJob(), await runningJob()];
  await until(() => (asked.get(short) ?? 0) >= 3, { what: 'questions about a job that runs beside it' });
  await stores.cancel(another, { ...order, grace_seconds: 1 }, 'test');
  await until(() => canceled.includes(another), { what: 'the other cancel' });
  expect(canceled).toEqual([stubborn, another]);

  for (const end of graces) end();
  await polling;
  await agents.close();
});
