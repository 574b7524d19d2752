/** All routes, with what each of them works with made once. A route that is not listed here does not exist. */
import type { Registry } from 'prom-client';
import type { AgentPort } from '../job/agent-port.ts';
import type { Batch } from '../job/batch.ts';
import type { Needs } from '../job/durability.ts';
import type { ApiKeyStore } from '../store/api-keys.ts';
import type { BatchStore } from '../store/batches.ts';
import type { Budget } from '../store/budget.ts';
import type { DeliveryStore } from '../store/deliveries.ts';
import type { ReadQueue } from '../store/explain.ts';
import type { Feed } from '../store/feed.ts';
import type { Followed } from '../store/followed.ts';
import type { HostStore } from '../store/hosts.ts';
import type { Cancel } from '../store/jobs/cancel.ts';
import type { LineStore } from '../store/jobs/line.ts';
import { createSucceed } from '../store/jobs/succession.ts';
import type { JobStore } from '../store/jobs.ts';
import type { Wake } from '../store/queues.ts';
import { createReadiness } from '../store/redis/readiness.ts';
import type { Redis } from '../store/redis.ts';
import type { Sealer } from '../store/sealing.ts';
import { createInSlot } from '../store/slots/in-slot.ts';
import type { SlotStore } from '../store/slots.ts';
import type { EndpointStore } from '../store/webhooks.ts';
import { createCalling } from './calling.ts';
import { createChangeTail } from './change-tail.ts';
import type { Holds } from './holds.ts';
import { createHostChecks } from './host-checks.ts';
import type { Api } from './instance.ts';
import { createPageTokens } from './page-tokens.ts';
import { explainBatchRoute } from './routes/batches/explain.ts';
import { listBatchRoutes } from './routes/batches/list.ts';
import { batchOutputRoute } from './routes/batches/output.ts';
import { readBatchRoute } from './routes/batches/read.ts';
import { retryBatchRoute } from './routes/batches/retry.ts';
import { steerBatchRoutes } from './routes/batches/steer.ts';
import { submitBatchRoute } from './routes/batches/submit.ts';
import { eventsRoute } from './routes/events.ts';
import { checkHostRoute } from './routes/hosts/check.ts';
import { drainHostRoutes } from './routes/hosts/drain.ts';
import { createLookAgain } from './routes/hosts/look-again.ts';
import { putHostRoute } from './routes/hosts/put.ts';
import { putHostsRoute } from './routes/hosts/put-many.ts';
import { readHostRoutes } from './routes/hosts/read.ts';
import { removeHostRoute } from './routes/hosts/remove.ts';
import { trustHostRoute } from './routes/hosts/trust.ts';
import { adoptRoute } from './routes/jobs/adopt.ts';
import { cancelRoute } from './routes/jobs/cancel.ts';
import { cancelManyRoute } from './routes/jobs/cancel-many.ts';
import { jobEventsRoute } from './routes/jobs/events.ts';
import { explainRoute } from './routes/jobs/explain.ts';
import { listRoute } from './routes/jobs/list.ts';
import { logsRoute } from './routes/jobs/logs.ts';
import { createReadOutput } from './routes/jobs/output.ts';
import { readRoute } from './routes/jobs/read.ts';
import { submitRoute } from './routes/jobs/submit.ts';
import { waitRoute } from './routes/jobs/wait.ts';
import { operatingRoutes } from './routes/operating.ts';
import { webhookRoutes } from './routes/webhooks.ts';
import { createWaits } from './waiting.ts';

/** What the API is built from. */
export interface Given {
  redis: Redis;
  /** What Redis must do with a write, for `/readyz`. */
  needs: Needs;
  jobs: JobStore;
  batches: BatchStore;
  hosts: HostStore;
  apiKeys: ApiKeyStore;
  feed: Feed;
  slots: SlotStore;
  budget: Budget;
  readQueue: ReadQueue;
  wake: Wake;
  cancelJob: Cancel;
  lines: LineStore;
  endpoints: EndpointStore;
  deliveries: DeliveryStore;
  followed: Pick<Followed, 'askAllNow'>;
  agents: AgentPort;
  sealer: Sealer;
  /** @returns why this address may not be called back; null if it may */
  refuseCallback: (url: string) => Promise<string | null>;
}

/** What it makes of itself. */
interface Made {
  holds: Holds;
  registry: Registry;
  /** Aborted when the server begins to close. */
  closing: AbortSignal;
}

export function registerRoutes(app: Api, given: Given & Made): void {
  const { feed, closing } = given;
  const waits = createWaits({ read: given.jobs.getMany, feed, closing });
  const batchWaits = createWaits<Batch>({
    read: given.batches.getMany,
    feed: { onChange: feed.onBatchChange, onGap: feed.onGap },
    closing,
  });
  const changeTail = createChangeTail(given.feed);
  const inSlot = createInSlot(given);
  const calling = createCalling({ hosts: given.hosts, inSlot, budget: given.budget });
  const pageTokens = createPageTokens(given.sealer.pepper);
  const succeed = createSucceed({ ...given, cancel: given.cancelJob });
  const deps = { ...given, succeed, waits, batchWaits, changeTail, calling, pageTokens };
  app.addHook('onClose', async () => {
    waits.close();
    batchWaits.close();
    changeTail.close();
  });

  submitRoute(app, deps);
  listRoute(app, deps);
  waitRoute(app, deps);
  adoptRoute(app, deps);
  cancelManyRoute(app, deps);
  readRoute(app, deps);
  cancelRoute(app, deps);
  logsRoute(app, { ...deps, readOutput: createReadOutput(deps) });
  jobEventsRoute(app, deps);
  explainRoute(app, deps);
  eventsRoute(app, deps);

  submitBatchRoute(app, deps);
  listBatchRoutes(app, deps);
  readBatchRoute(app, deps);
  explainBatchRoute(app, deps);
  batchOutputRoute(app, deps);
  steerBatchRoutes(app, deps);
  retryBatchRoute(app, deps);

  const lookAgain = createLookAgain({ followed: given.followed, wake: given.wake, log: app.log });
  putHostRoute(app, { ...deps, lookAgain });
  putHostsRoute(app, { ...deps, lookAgain });
  readHostRoutes(app, deps);
  checkHostRoute(app, { ...deps, checkHost: createHostChecks(deps) });
  trustHostRoute(app, { ...deps, lookAgain });
  drainHostRoutes(app, { ...deps, lookAgain });
  removeHostRoute(app, deps);

  webhookRoutes(app, deps);
  operatingRoutes(app, { ...deps, readiness: createReadiness(deps) });
}
