/** Batches as the API would accept them, and where their targets stand, for tests of the store and of workers. */

import { monotonicFactory } from 'ulid';
import { expect } from 'vitest';
import { type Batch, COUNTED, countedAs, isBatchOver } from '../../src/job/batch.ts';
import { batchJobId } from '../../src/store/batches/job-id.ts';
import { type BatchStore, createBatchStore, type Standing } from '../../src/store/batches.ts';
import { USUAL } from '../../src/store/jobs/codec.ts';
import type { Stores } from './stores.ts';
import { until } from './until.ts';

const ulid = monotonicFactory();

/** A batch that says only what differs from the usual. @param job of what its jobs are made */
export function newBatch(
  fields: Partial<Batch> & Pick<Batch, 'total'>,
  job: Partial<Batch['job']> = {},
): Batch {
  const { unique_key, callback_url, batch_id, batch_index, ...usual } = USUAL;
  return {
    id: `batch_${ulid()}`,
    job: { ...usual, command: 'true', labels: {}, created_by: 'test', start_deadline_seconds: 600, ...job },
    max_parallel: 50,
    waves: null,
    wave_pause_seconds: 0,
    max_failures: null,
    max_unreachable: null,
    on_limit: 'stop',
    unique_key: null,
    callback_url: null,
    created_by: 'test',
    created_at: Date.now(),
    retry_of: null,
    state: 'running',
    version: 1,
    counts: { ...noCounts(), unstarted: fields.total },
    made: 0,
    wave: 1,
    stopped_because: null,
    next_wave_at: null,
    awaits_wave: false,
    ended_at: null,
    canceled_by: null,
    cancel_reason: null,
    replaces: null,
    ...fields,
  };
}

/** Submits a batch for these hosts and has somebody go on with it, as the API does. */
export async function submitBatch(
  { redis, keys, wake }: Pick<Stores, 'redis' | 'keys' | 'wake'>,
  hosts: readonly string[],
  fields: Partial<Batch> = {},
  job: Partial<Batch['job']> = {},
): Promise<{ id: string; batches: BatchStore; jobOf(host: string): string }> {
  const batches = createBatchStore({ redis, keys });
  const batch = newBatch({ ...fields, total: hosts.length }, job);
  const targets = hosts.map((host) => ({ host, target_server: host }));
  const accepted = await batches.accept(batch, targets, undefined, { seen: null, replaces: batch.replaces });
  expect(accepted.kind).toBe('accepted');
  await wake.batch(batch.id);
  return { id: batch.id, batches, jobOf: (host) => batchJobId(batch.id, host) };
}

/** Waits until a condition holds for the batch. */
export function batchThat(
  batches: Pick<BatchStore, 'get'>,
  id: string,
  condition: (batch: Batch) => boolean,
  { timeoutMs = 30_000, what = 'the batch' } = {},
): Promise<Batch> {
  let seen: Batch | null = null;
  return until(
    async () => {
      seen = await batches.get(id);
      return seen && condition(seen) && seen;
    },
    { timeoutMs, everyMs: 50, what },
  ).catch((error: unknown) => {
    throw new Error(`${what}: ${JSON.stringify({ ...seen, job: undefined })}`, { cause: error });
  });
}

export const overIn = (batches: Pick<BatchStore, 'get'>, id: string, timeoutMs = 30_000): Promise<Batch> =>
  batchThat(batches, id, ({ state }) => isBatchOver(state), { timeoutMs, what: 'the end of the batch' });

/** What its counts must be by where its targets stand. */
export function countsOf(standings: readonly Standing[]): Batch['counts'] {
  const counts = noCounts();
  for (const one of standings)
    counts[one === 'withdrawn' || one === 'unstarted' ? 'unstarted' : countedAs(one)]++;
  return counts;
}

export function noCounts(): Batch['counts'] {
  return Object.fromEntries(COUNTED.map((name) => [name, 0])) as Batch['counts'];
}
