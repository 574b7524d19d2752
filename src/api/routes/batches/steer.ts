/** `POST /v1/batches/{id}:pause`, `:resume` and `:cancel`. Asked for again, each answers with the batch as it is. */
import type { FastifyRequest } from 'fastify';
import Type from 'typebox';
import { SluiceError } from '../../../job/errors.ts';
import { BatchView, batchView } from '../../../protocol/batch-view.ts';
import type { BatchStore, Order } from '../../../store/batches.ts';
import type { Wake } from '../../../store/queues.ts';
import { visibleBatch } from '../../access.ts';
import type { Api } from '../../instance.ts';
import { BATCH_PATH, BatchParams } from './path.ts';

export interface SteerBatchDeps {
  batches: Pick<BatchStore, 'get' | 'order'>;
  wake: Pick<Wake, 'batch'>;
}

const NoBody = Type.Object({}, { additionalProperties: false });
const CancelBody = Type.Object(
  {
    reason: Type.Optional(
      Type.String({ minLength: 1, maxLength: 1_024, description: 'For people; it stands with its jobs.' }),
    ),
  },
  { additionalProperties: false },
);

export function steerBatchRoutes(app: Api, { batches, wake }: SteerBatchDeps): void {
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
          'Also begins the next wave where that waits for it. Where a limit paused it, limits count anew from here. 409 ' +
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

  async function steer(
    request: Pick<FastifyRequest, 'caller' | 'audited'> & { params: { id: string } },
    order: Order,
  ): Promise<BatchView> {
    const { caller, params } = request;
    const { id } = params;
    request.audited.batch = id;
    const before = visibleBatch(caller, id, await batches.get(id));
    const ordered = await batches.order(id, order);
    if (ordered === 'refused') throw new SluiceError('batch_is_over', `${id} is ${before.state}`);
    // Where it fails, the sweep finds the batch due.
    if (ordered === 'done') await wake.batch(id).catch(() => undefined);
    return batchView(visibleBatch(caller, id, await batches.get(id)));
  }
}
