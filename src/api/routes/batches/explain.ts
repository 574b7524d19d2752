/** `GET /v1/batches/{id}/explain`: why a batch is where it is, and which hosts it waits for. */
import { SluiceError } from '../../../job/errors.ts';
import { BatchExplanation, batchExplanationOf } from '../../../protocol/batch-explanation.ts';
import type { BatchStore } from '../../../store/batches.ts';
import { maySee } from '../../access.ts';
import type { Api } from '../../instance.ts';
import { BATCH_PATH, BatchParams } from './path.ts';

export function explainBatchRoute(app: Api, { batches }: { batches: Pick<BatchStore, 'standing'> }): void {
  app.get(
    `${BATCH_PATH}/explain`,
    {
      config: { scope: 'jobs:read' },
      schema: {
        tags: ['Batches'],
        summary: 'Why a batch is where it is',
        description:
          'What keeps it from going on: its limits and what is used of them, its wave, a pause and who made it, and the ' +
          'hosts that it waits for.',
        params: BatchParams,
        response: { 200: BatchExplanation },
      },
    },
    async ({ params: { id }, caller }) => {
      const standing = await batches.standing(id);
      if (!standing || !maySee(caller, standing.batch)) {
        throw new SluiceError('not_found', `there is no batch ${id}`);
      }
      return batchExplanationOf(standing);
    },
  );
}
