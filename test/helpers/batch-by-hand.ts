/** Batches without workers: their jobs are made as the workers make them, and moved by hand. */
import { pino } from 'pino';
import type { Batch } from '../../src/job/batch.ts';
import type { Change } from '../../src/job/move.ts';
import { outcome } from '../../src/job/outcome.ts';
import type { Job } from '../../src/job/record.ts';
import { batchJobId } from '../../src/store/batches/job-id.ts';
import { createBatchStore } from '../../src/store/batches.ts';
import { createProceed } from '../../src/workers/batches.ts';
import { newBatch } from './batches.ts';
import type { Stores } from './stores.ts';

export type BatchByHand = ReturnType<typeof createBatchByHand>;

/** What a batch needs of the workers, without anybody who starts its jobs. */
export function createBatchByHand(stores: Stores) {
  const batches = createBatchStore(stores);
  const proceed = createProceed({
    ...{ batches, jobs: stores.jobs, cancel: stores.cancel, sealer: stores.sealer, wake: stores.wake },
    ...{ stopping: new AbortController().signal, log: pino({ level: 'silent' }) },
    // Nothing is asked of them, so they need not be registered.
    hosts: { resolveMany: async (names) => names },
  });
  return {
    batches,
    proceed,
    /** Accepts a batch for these hosts, and makes what there is room for. */
    async begin(hosts: string[], fields: Partial<Batch> = {}): Promise<Batch> {
      const targets = hosts.map((host) => ({ host, target_server: host }));
      const batch = newBatch({ ...fields, total: hosts.length });
      const accepted = await batches.accept(batch, targets, undefined, { seen: null, replaces: null });
      if (accepted.kind !== 'accepted') throw new Error(`the batch was ${accepted.kind}`);
      await proceed(accepted.batch.id);
      return read(accepted.batch.id);
    },
    read,
    jobOf,
    /** Starts its job on this host, by hand. */
    async start(batch: Batch, host: string): Promise<Job> {
      const sent = await stores.jobs.transition(await jobOf(batch, host), 'queued', 'dispatching', {
        why: 'a test',
        attempt: 1,
      });
      return must(sent && (await move(sent, 'running', { next_poll_at: Date.now() + 60_000 })));
    },
    /** Runs its job on this host to its end, by hand, and goes on with the batch. */
    async end(batch: Batch, host: string, code: number): Promise<Batch> {
      const job = await jobOf(batch, host);
      const running = job.state === 'running' ? job : await this.start(batch, host);
      const state = code === 0 ? 'succeeded' : 'failed';
      await move(running, state, { outcome: outcome('exit', { return_code: code }) });
      await proceed(batch.id);
      return read(batch.id);
    },
  };

  async function read(id: string): Promise<Batch> {
    return must(await batches.get(id));
  }

  async function jobOf({ id }: Batch, host: string): Promise<Job> {
    return must(await stores.jobs.get(batchJobId(id, host)));
  }

  async function move(
    job: Job,
    to: 'running' | 'succeeded' | 'failed',
    change: Partial<Change>,
  ): Promise<Job> {
    return must(await stores.jobs.transition(job, job.state, to as never, { why: 'a test', ...change }));
  }
}

function must<T>(found: T | null | false): T {
  if (found === null || found === false) throw new Error('it is not there, or could not be moved');
  return found;
}
