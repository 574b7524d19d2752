/**
 * What an error of the store means for a caller. The difference that matters is whether a write may have been
 * done: only `store_unavailable` says that it was not.
 */
import { SluiceError } from '../job/errors.ts';
import { troubleOf } from '../store/redis/trouble.ts';

/** @returns null if the error is not the store's being away */
export function storeProblem(error: unknown, writes: boolean): SluiceError | null {
  if (!(error instanceof Error) || error instanceof SluiceError) return null;
  const trouble = troubleOf(error.message);
  if (trouble === null) return null;
  const options = { fields: { retry_after: 2 }, cause: error };
  if (trouble === 'refused') {
    return new SluiceError(
      'store_unavailable',
      `the store refuses it${whyOf(error)}; nothing was done`,
      options,
    );
  }
  if (trouble === 'not_sent' || !writes) {
    return new SluiceError('store_unavailable', 'the store does not answer; nothing was done', options);
  }
  const detail = 'the store did not confirm; repeat the request with the same Idempotency-Key';
  return new SluiceError('not_acknowledged', detail, options);
}

/** Known words only: a reply of Redis may name keys, users and scripts. */
const WHY: Record<string, string> = {
  OOM: ': its memory is full',
  READONLY: ': it is a replica',
  MISCONF: ': it cannot write to its disk',
  NOREPLICAS: ': its replicas are missing',
  LOADING: ' yet: it is reading its data',
};

function whyOf(error: Error & { previousErrors?: Error[] }): string {
  // A transaction was refused for one of its commands.
  const { message } = error.previousErrors?.[0] ?? error;
  return WHY[message.split(' ', 1)[0] ?? ''] ?? '';
}
