/**
 * Acknowledged writes (`SLUICE_ACK_REPLICAS`): what a caller is told was taken is on so many replicas by then, so that
 * no failover forgets it. Redis replicates asynchronously; `WAIT`, on the connection that wrote, says who has it.
 *
 * WAIT blocks its connection. So these writes have a connection of their own, on which nobody reads who need not wait,
 * and all writes of a moment share one WAIT: it covers everything that the connection wrote before. It comes with a
 * write of its own, because a repetition writes nothing, and WAIT covers what a connection wrote, not what it read.
 *
 * An answer counts only if the connection was the same one from before the write until then. On a new one, perhaps to a
 * new primary, WAIT knows nothing of that write, and would answer at once.
 */
import { SluiceError } from '../../job/errors.ts';
import type { Keys } from '../keys.ts';
import type { Redis } from '../redis.ts';

/**
 * Runs `write`, and returns once enough replicas have what it wrote, or found.
 * @throws SluiceError not_acknowledged; whether it wrote is then not known, but while replicas are known to be missing
 *   nothing is written
 */
export type Acknowledged = <T>(write: () => Promise<T>) => Promise<T>;

/** How long replicas are waited for, in ms. */
export const PATIENCE_MS = 1_000;
/** When a caller should come back, in seconds. */
const RETRY_AFTER_SECONDS = 2;

export function createAcknowledging(deps: {
  /** The connection of the writes, and of nothing else. */
  redis: Redis;
  keys: Pick<Keys, 'replicated'>;
  replicas: number;
  /** Too few replicas answer, or enough do again; each told once. */
  onChange: (change: 'missing' | 'back') => void;
}): Acknowledged {
  const { redis, keys, replicas, onChange } = deps;
  let connection = 0;
  let isMissing = false;
  let asking: Promise<unknown> = Promise.resolve();
  let next: Promise<boolean> | null = null;
  redis.on('close', () => {
    connection += 1;
  });

  return async (write) => {
    // What could not be acknowledged had better not be done: its caller would hear 503, and it would be done all the same.
    if (isMissing && !(await isReplicated())) throw notAcknowledged('nothing was done');
    const writtenOn = connection;
    const result = await write();
    const isThere = await isReplicated().catch((cause: unknown) => {
      throw notAcknowledged('it may have been taken', cause);
    });
    if (!isThere || connection !== writtenOn) throw notAcknowledged('it may have been taken');
    return result;
  };

  /** Shared by all who ask while the one before is under way: it is sent after the last of their writes. */
  function isReplicated(): Promise<boolean> {
    next ??= asking.then(() => {
      next = null;
      const answer = ask();
      asking = answer.catch(() => undefined);
      return answer;
    });
    return next;
  }

  /** @throws Error where Redis takes no write, or does not answer */
  async function ask(): Promise<boolean> {
    const replies = await redis.pipeline().set(keys.replicated, '').wait(replicas, PATIENCE_MS).exec();
    for (const [error] of replies ?? []) if (error) throw error;
    const isEnough = Number(replies?.[1]?.[1]) >= replicas;
    if (isEnough === isMissing) onChange(isEnough ? 'back' : 'missing');
    isMissing = !isEnough;
    return isEnough;
  }

  function notAcknowledged(done: string, cause?: unknown): SluiceError {
    const detail = `${replicas} replicas of the store did not confirm it; ${done}: repeat it with the same Idempotency-Key`;
    return new SluiceError('not_acknowledged', detail, {
      fields: { retry_after: RETRY_AFTER_SECONDS },
      cause,
    });
  }
}

/** The same store, whose methods of these names are acknowledged before they return. */
export function acknowledging<Store extends object>(
  store: Store,
  names: readonly (keyof Store)[],
  acknowledged: Acknowledged,
): Store {
  const all = { ...store };
  for (const name of names) {
    const method = store[name] as (...given: unknown[]) => Promise<unknown>;
    Object.assign(all, { [name]: (...given: unknown[]) => acknowledged(() => method(...given)) });
  }
  return all;
}
