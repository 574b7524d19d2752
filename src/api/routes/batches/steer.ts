/**
 * `POST /v1/batches/{id}:pause`, `:resume` and `:cancel`. Asked for again, each answers with the batch as it is. To let
 * jobs start takes the same rights as to submit them.
 */
import type { FastifyRequest } from 'fastify';
import Type from 'typebox';
import { type Batch, isBatchOver } from '../../../job/batch.ts';
import { SluiceError } from '../../../job/errors.ts';
import { BatchView, batchView } from '../../../protocol/batch-view.ts';
import type { BatchStore, Order } from '../../../store/batches.ts';
import type { Wake } from '../../../store/queues.ts';
import { visibleBatch } from '../../access.ts';
import type { Api } from '../../instance.ts';
import { BATCH_PATH, BatchParams } from './path.ts';
import { checkGrantsAgain, type TargetDeps } from './targets.ts';

export interface SteerBatchDeps extends TargetDeps {
  batches: Pick<BatchStore, 'get' | 'order' | 'standings' | 'targets'>;
  wake: Pick<Wake, 'batch'>;
}

type Steering = Pick<FastifyRequest, 'caller' | 'audited'> & { params: { id: string } };

const NoBody = Type.Object({}, { additionalProperties: false });
const CancelBody = Type.Object(
  {
    reason: Type.Optional(
      Type.String({ minLength: 1, maxLength: 1_024, description: 'For people; it stands with its jobs.' }),
    ),
  },
  { additionalProperties: false },
);

export function steerBatchRoutes(app: Api, deps: SteerBatchDeps): void {
  const { batches, wake } = deps;

  app.post(
    `${BATCH_PATH}::pause`,
    {
      config: { scope: 'jobs:submit', audit: 'batch.pause', bodyOptional: true },
      schema: {
        tags: ['Batches'],
        summary: 'Pause a batch',
        description:
          'Nothing more is started; what is on its host runs on. 409 `batch_is_over` unless it is running or paused.',
        params: BatchParams,
        body: NoBody,
        response: { 200: BatchView },
      },
    },
    (request) => steer(request, { kind: 'pause', by: request.caller.name }),
  );

  app.post(
    `${BATCH_PATH}::resume`,
    {
      config: { scope: 'jobs:submit', audit: 'batch.resume', bodyOptional: true },
      schema: {
        tags: ['Batches'],
        summary: 'Go on with a paused batch',
        description:
          'Also begins the next wave where that waits for it. Where a limit paused it, limits count anew from here. 403 ' +
          '`forbidden` where the key may not, or no longer, run its command on a host that has not started it; 409 ' +
          '`batch_is_over` unless it is paused or running.',
        params: BatchParams,
        body: NoBody,
        response: { 200: BatchView },
      },
    },
    (request) => steer(request, { kind: 'resume' }),
  );

  app.post(
    `${BATCH_PATH}::cancel`,
    {
      config: { scope: 'jobs:cancel', audit: 'batch.cancel', bodyOptional: true },
      schema: {
        tags: ['Batches'],
        summary: 'Cancel a batch',
        description:
          'Nothing more is started, and its jobs are canceled: it is `canceling` until the end of each is proven, ' +
          'however long its host is away. 409 `batch_is_over` where it is over.',
        params: BatchParams,
        body: CancelBody,
        response: { 200: BatchView },
      },
    },
    (request) =>
      steer(request, { kind: 'cancel', by: request.caller.name, reason: request.body.reason ?? null }),
  );

  async function steer(request: Steering, order: Order): Promise<BatchView> {
    const { caller, params } = request;
    const { id } = params;
    request.audited.batch = id;
    const before = visibleBatch(caller, id, await batches.get(id));
    // A running one as well: it may be paused by the time that the order is there.
    if (order.kind === 'resume' && !isBatchOver(before.state)) await checkMayStart(before, caller);
    const ordered = await batches.order(id, order);
    if (ordered === 'refused') throw new SluiceError('batch_is_over', `${id} is ${before.state}`);
    // Where it fails, the sweep finds the batch due.
    if (ordered === 'done') await wake.batch(id).catch(() => undefined);
    return batchView(visibleBatch(caller, id, await batches.get(id)));
  }

  async function checkMayStart(batch: Batch, caller: Steering['caller']): Promise<void> {
    const standings = await batches.standings(batch);
    const targets = await batches.targets(batch.id, 0, batch.total);
    const notStarted = targets.filter((_, i) => standings[i] === 'unstarted' || standings[i] === 'queued');
    await checkGrantsAgain(deps, notStarted, batch.job.job_user, caller);
  }
}
