/** The delivery of webhooks as the workers compose it, and jobs that end at once, for the tests of it. */
import { pino } from 'pino';
import { outcome } from '../../src/job/outcome.ts';
import type { Job } from '../../src/job/record.ts';
import { createAddressRules } from '../../src/net/addresses.ts';
import { createWebhookSender, type SenderDeps } from '../../src/net/webhook.ts';
import { jobView } from '../../src/protocol/job-view.ts';
import { createDeliveryStore, type Delivery } from '../../src/store/deliveries.ts';
import { createEndpointStore } from '../../src/store/webhooks.ts';
import { createDeliverer } from '../../src/workers/deliver.ts';
import { newJob, type Stores } from './stores.ts';
import { until } from './until.ts';

export const CALLBACK_SECRET = 'whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw';

export type Rig = ReturnType<typeof createRig>;

export function createRig(
  stores: Pick<Stores, 'redis' | 'keys' | 'sealer'>,
  options: {
    pausesSeconds?: number[];
    timeoutMs?: number;
    leaseMs?: number;
    perOrigin?: number;
    concurrency?: number;
  } & Partial<SenderDeps> = {},
) {
  const {
    pausesSeconds = [0.1, 0.1, 0.1],
    timeoutMs = 2_000,
    perOrigin = 4,
    leaseMs,
    concurrency = 100,
    ...sending
  } = options;
  const { redis, keys, sealer } = stores;
  const deliveries = createDeliveryStore({ redis, keys });
  const endpoints = createEndpointStore({ redis, keys, sealer });
  const sender = createWebhookSender({
    rules: createAddressRules({ allow: ['127.0.0.0/8'], deny: [] }),
    isAgentAddress: async () => false,
    connectMs: timeoutMs,
    totalMs: timeoutMs,
    ...sending,
  });
  const deliverer = createDeliverer({
    deliveries,
    endpoints,
    sender,
    callbackSecret: async (owner) => (owner === 'no-secret' ? null : CALLBACK_SECRET),
    view: async (job) => jobView(job),
    schedule: { pausesSeconds, random: Math.random },
    connection: redis,
    queuePrefix: keys.queuePrefix,
    perOrigin,
    timeoutMs,
    leaseMs,
    concurrency,
    log: pino({ level: process.env.TEST_LOG ?? 'silent' }),
  });
  return {
    deliveries,
    endpoints,
    deliverer,
    async stop() {
      await deliverer.close();
      await sender.close();
    },
  };
}

/** Accepts a job and ends it, so that its end is in the outbox. */
export async function endJob(stores: Pick<Stores, 'jobs'>, fields: Partial<Job> = {}): Promise<Job> {
  const accepted = await stores.jobs.accept(newJob({ host: 'web1', command: 'true', ...fields }));
  if (accepted.kind !== 'accepted') throw new Error(`the job was ${accepted.kind}`);
  const ended = await stores.jobs.transition(accepted.job, 'queued', 'canceled', {
    why: 'a test',
    outcome: outcome('canceled'),
  });
  if (!ended) throw new Error('the job could not be ended');
  return ended;
}

export function callbackId(job: Job): string {
  return `msg_${job.id}_${job.version}_callback`;
}

/** Waits until a delivery is in this state, or has had so many attempts. */
export function deliveryOf(
  rig: Pick<Rig, 'deliveries'>,
  id: string,
  reached: { state: Delivery['state'] } | { attempts: number },
): Promise<Delivery> {
  return until(
    async () => {
      const delivery = await rig.deliveries.get(id);
      if (!delivery) return false;
      const there =
        'state' in reached ? delivery.state === reached.state : delivery.attempts.length >= reached.attempts;
      return there && delivery;
    },
    { timeoutMs: 15_000, what: `${id} to have ${JSON.stringify(reached)}` },
  );
}
