/** The outbox: changes of jobs and of batches that somebody may have to be told of, in the order in which they were made. */
import { type BatchOutboxEntry, decodeBatchEntry } from '../batches/codec.ts';
import { decodeOutboxEntry, type OutboxEntry } from '../jobs/codec.ts';
import type { Keys } from '../keys.ts';
import type { Redis } from '../redis.ts';

/** A change waiting in the outbox. */
export interface Outgoing {
  text: string;
  /** Null where its job or batch is gone. */
  entry: OutboxEntry | BatchOutboxEntry | null;
  /** Why it cannot be read. */
  error?: unknown;
}

export async function readOutbox(redis: Redis, keys: Keys, limit: number): Promise<Outgoing[]> {
  const texts = await redis.lrange(keys.outbox, 0, limit - 1);
  return Promise.all(
    texts.map(async (text) => {
      try {
        return { text, entry: await readEntry(redis, keys, text) };
      } catch (error) {
        return { text, entry: null, error };
      }
    }),
  );
}

async function readEntry(redis: Redis, keys: Keys, text: string): Promise<Outgoing['entry']> {
  const id = String((JSON.parse(text) as { id: unknown }).id);
  return id.startsWith('batch_')
    ? decodeBatchEntry(text, await redis.get(keys.batchRequest(id)))
    : decodeOutboxEntry(text, await redis.get(keys.jobRequest(id)));
}
