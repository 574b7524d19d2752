/** What a request is refused with whose Idempotency-Key or unique_key stands for something else. */
import { SluiceError } from '../job/errors.ts';

/** What it stands for. */
type Holder = { job_id: string } | { batch_id: string };

export function keyReused(holder: Holder): SluiceError {
  const detail = `the Idempotency-Key belongs to ${idOf(holder)}, which was asked for with another body`;
  return new SluiceError('idempotency_key_reused', detail, {
    fields: { field: 'Idempotency-Key', ...holder },
  });
}

export function uniqueKeyInUse(holder: Holder, state: string): SluiceError {
  const detail = `the unique_key is held by ${idOf(holder)}, which is ${state}`;
  return new SluiceError('unique_key_in_use', detail, { fields: { field: 'unique_key', ...holder } });
}

const idOf = (holder: Holder) => ('job_id' in holder ? holder.job_id : holder.batch_id);
