/** From a valid body to a batch: shares counted out, defaults filled in. Pure but for the id and the sealing. */
import { decodeTime } from 'ulid';
import { limitOf, type Share, sizeOf } from '../../../job/batch/sizes.ts';
import type { Batch } from '../../../job/batch.ts';
import { envPlace, type Sealer } from '../../../store/sealing.ts';
import { createIds } from '../../ids.ts';
import { sealEnvironment, wishesOf } from '../jobs/order.ts';
import type { BatchBody } from './submit.schema.ts';

/** @param deps.now the store's clock, in ms */
export function createBatchOrders(deps: { now: () => number; sealer: Pick<Sealer, 'seal' | 'open'> }) {
  const nextUlid = createIds();

  return {
    ordered(body: BatchBody, total: number, from: { caller: string; traceparent: string | null }): Batch {
      const id = newId();
      const limit = (share: Share | null | undefined) => (share == null ? null : limitOf(share, total));
      return {
        ...begun(id, total),
        job: {
          ...wishesOf(body, decodeTime(id.slice('batch_'.length))),
          sealed_env: sealEnvironment(deps.sealer, id, body),
          created_by: from.caller,
          traceparent: from.traceparent,
        },
        max_parallel: sizeOf(body.max_parallel, total),
        waves: body.waves?.map((share) => sizeOf(share, total)) ?? null,
        wave_pause_seconds: body.wave_pause_seconds,
        max_failures: limit(body.max_failures),
        max_unreachable: limit(body.max_unreachable),
        on_limit: body.on_limit,
        unique_key: body.unique_key ?? null,
        callback_url: body.callback_url ?? null,
        created_by: from.caller,
      };
    },
    /**
     * The same again for some of its hosts; sizes and limits stay the numbers that they were. It belongs to the same key,
     * whoever asks for it: its unique key holds among the batches of that key, whose secret signs what is told of it.
     */
    again(before: Batch, total: number, labels?: Record<string, string>): Batch {
      const id = newId();
      // The idempotency key is that of the request which made the first one.
      const { idempotency, ...same } = before;
      const { sealed_env } = before.job;
      return {
        ...same,
        ...begun(id, total),
        job: {
          ...before.job,
          labels: labels ?? before.job.labels,
          sealed_env:
            sealed_env && deps.sealer.seal(deps.sealer.open(sealed_env, envPlace(before.id)), envPlace(id)),
        },
        retry_of: before.id,
      };
    },
  };

  function newId(): string {
    return `batch_${nextUlid(deps.now())}`;
  }

  function begun(id: string, total: number) {
    const counts = {
      ...{ unstarted: total, queued: 0, running: 0, unreachable: 0, canceling: 0, succeeded: 0 },
      ...{ failed: 0, timed_out: 0, canceled: 0, expired: 0, lost: 0 },
    };
    const ends = { ended_at: null, canceled_by: null, cancel_reason: null, replaces: null, retry_of: null };
    const waits = { stopped_because: null, next_wave_at: null, awaits_wave: false };
    const created_at = decodeTime(id.slice('batch_'.length));
    return {
      id,
      total,
      state: 'running' as const,
      version: 1,
      counts,
      made: 0,
      wave: 1,
      ...waits,
      ...ends,
      created_at,
    };
  }
}
