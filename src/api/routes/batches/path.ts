/** The paths of one batch. The pattern keeps a colon out of the id, so that `:verb` is what follows it. */
import Type from 'typebox';

export const BATCH_PATH = '/v1/batches/:id(^[A-Za-z0-9_-]+$)';

export const BatchParams = Type.Object({ id: Type.String({ description: "The batch's id." }) });
