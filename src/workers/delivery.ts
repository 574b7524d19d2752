/** The delivery of webhooks, put together: what it stores, how it sends, whom it may call. */
import type { Logger } from 'pino';
import { createAddressRules } from '../net/addresses.ts';
import { createWebhookSender } from '../net/webhook.ts';
import { jobView } from '../protocol/job-view.ts';
import { createApiKeyStore } from '../store/api-keys.ts';
import { createDeliveryStore } from '../store/deliveries.ts';
import type { HostStore } from '../store/hosts.ts';
import type { JobStore } from '../store/jobs.ts';
import type { Keys } from '../store/keys.ts';
import type { Redis } from '../store/redis.ts';
import type { Sealer } from '../store/sealing.ts';
import { createEndpointStore } from '../store/webhooks.ts';
import type { CrashPoints } from './crash-points.ts';
import type { AttemptDeps } from './deliver/attempt.ts';
import { createDeliverer } from './deliver.ts';

const CONNECT_MS = 10_000;
/** Requests under way to one receiver at once, so that a slow one holds up nobody else. */
const PER_ORIGIN = 8;
/** Receivers that one process serves at once. */
const CONCURRENCY = 500;

export function createDelivery(deps: {
  redis: Redis;
  keys: Keys;
  jobs: Pick<JobStore, 'tails'>;
  hosts: Pick<HostStore, 'isAgentAddress'>;
  sealer: Sealer;
  config: {
    webhooks: { allow: string[]; deny: string[]; scheduleSeconds: number[]; timeoutMs: number };
    apiKey: string | null;
    callbackSecret: string | null;
  };
  points: Pick<CrashPoints, 'deliveries' | 'sender'>;
  onAttempted: AttemptDeps['onAttempted'];
  log: Logger;
}) {
  const { redis, keys, jobs, hosts, sealer, config, points, onAttempted, log } = deps;
  const { timeoutMs, scheduleSeconds } = config.webhooks;
  const admin =
    config.apiKey === null
      ? undefined
      : { token: config.apiKey, callbackSecret: config.callbackSecret ?? undefined };
  const apiKeys = createApiKeyStore({ redis, keys, sealer, admin });
  const sender = createWebhookSender({
    rules: createAddressRules(config.webhooks),
    isAgentAddress: (address) => hosts.isAgentAddress(address),
    connectMs: CONNECT_MS,
    totalMs: timeoutMs,
  });
  const deliverer = createDeliverer({
    deliveries: points.deliveries(createDeliveryStore({ redis, keys })),
    endpoints: createEndpointStore({ redis, keys, sealer }),
    sender: points.sender(sender),
    callbackSecret: (owner) => apiKeys.callbackSecret(owner),
    view: async (job) => jobView(job, { tails: await jobs.tails(job.id) }),
    schedule: { pausesSeconds: scheduleSeconds, random: Math.random },
    connection: redis,
    queuePrefix: keys.queuePrefix,
    perOrigin: PER_ORIGIN,
    timeoutMs,
    concurrency: CONCURRENCY,
    onAttempted,
    log,
  });
  return {
    deliverer,
    async close() {
      await deliverer.close();
      await sender.close();
    },
  };
}
