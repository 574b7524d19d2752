/** `GET /v1/batches/{id}`: a batch, held until it changes or is over where that is asked for. */
import Type from 'typebox';
import { isBatchOver } from '../../../job/batch.ts';
import { BatchView, batchView } from '../../../protocol/batch-view.ts';
import type { BatchStore } from '../../../store/batches.ts';
import { visibleBatch } from '../../access.ts';
import { clientGone } from '../../client-gone.ts';
import { isUnchanged } from '../../etag.ts';
import type { Holds } from '../../holds.ts';
import type { Api } from '../../instance.ts';
import { MAX_WAIT_SECONDS } from '../../prefer.ts';
import type { BatchWaits } from '../../waiting.ts';
import { BATCH_PATH, BatchParams } from './path.ts';

export interface ReadBatchDeps {
  batches: Pick<BatchStore, 'get'>;
  batchWaits: BatchWaits;
  holds: Holds;
}

const ReadQuery = Type.Object(
  {
    wait: Type.Integer({
      minimum: 0,
      default: 0,
      description: 'Hold the reply for at most so many seconds (60 at most) until the batch is over, or ...',
    }),
    since: Type.Optional(
      Type.Integer({ minimum: 0, description: '... until its version is above this one.' }),
    ),
  },
  { additionalProperties: false },
);

export function readBatchRoute(app: Api, { batches, batchWaits, holds }: ReadBatchDeps): void {
  app.get(
    BATCH_PATH,
    {
      config: { scope: 'jobs:read' },
      schema: {
        tags: ['Batches'],
        summary: 'Read a batch, or wait for it',
        description:
          'The `ETag` is the version: with `If-None-Match` an unchanged batch answers 304. A large batch changes many ' +
          'times a second: who only shows how it goes pauses between two looks.',
        params: BatchParams,
        querystring: ReadQuery,
        response: { 200: BatchView, 304: Type.Null({ description: 'Unchanged.' }) },
      },
    },
    async (request, reply) => {
      const { id } = request.params;
      const { wait, since } = request.query;
      const ready = ({ version, state }: Pick<BatchView, 'version' | 'state'>) =>
        isBatchOver(state) || (since !== undefined && version > since);
      let batch = visibleBatch(request.caller, id, await batches.get(id));
      if (wait > 0 && !ready(batch)) {
        const release = holds.take(request.caller.name);
        const seconds = Math.min(wait, MAX_WAIT_SECONDS);
        try {
          await batchWaits.until([{ id, ready }], { seconds, mode: 'all', signal: clientGone(reply) });
        } finally {
          release();
        }
        batch = visibleBatch(request.caller, id, await batches.get(id));
      }
      const etag = `"${batch.version}"`;
      reply.header('etag', etag).header('cache-control', 'no-cache');
      if (isUnchanged(request.headers['if-none-match'], etag)) return reply.code(304).send(null);
      return reply.send(batchView(batch));
    },
  );
}
