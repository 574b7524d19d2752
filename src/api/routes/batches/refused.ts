/** What a batch that comes second is refused with. */
import type { Batch } from '../../../job/batch.ts';
import { SluiceError } from '../../../job/errors.ts';

export function keyReused(id: string): SluiceError {
  const detail = `the Idempotency-Key belongs to ${id}, which was asked for with another body`;
  return new SluiceError('idempotency_key_reused', detail, {
    fields: { field: 'Idempotency-Key', batch_id: id },
  });
}

export function uniqueKeyInUse({ id, state }: Pick<Batch, 'id' | 'state'>): SluiceError {
  return new SluiceError('unique_key_in_use', `the unique_key is held by ${id}, which is ${state}`, {
    fields: { field: 'unique_key', batch_id: id },
  });
}
