/** What a key may see: its own jobs, or all with `admin`. What it may not see is "not found", as what is not there. */
import type { Batch } from '../job/batch.ts';
import { SluiceError } from '../job/errors.ts';
import type { Job } from '../job/record.ts';
import { type ApiKey, hasScope } from '../store/api-keys.ts';

type Caller = Pick<ApiKey, 'name' | 'scopes'>;

export function maySee(caller: Caller, job: { created_by: string }): boolean {
  return job.created_by === caller.name || hasScope(caller, 'admin');
}

/** The owner to which lists and filters are limited; undefined for all. */
export function ownerLimit(caller: Caller): string | undefined {
  return hasScope(caller, 'admin') ? undefined : caller.name;
}

/** @throws SluiceError not_found */
export function visibleBatch(caller: Caller, id: string, batch: Batch | null): Batch {
  if (!batch || !maySee(caller, batch)) throw new SluiceError('not_found', `there is no batch ${id}`);
  return batch;
}

/** @throws SluiceError not_found */
export function visible(caller: Caller, id: string, job: Job | null): Job {
  if (!job || !maySee(caller, job)) throw new SluiceError('not_found', `there is no job ${id}`);
  return job;
}
