/**
 * Whether BullMQ's queues move. Read from three of its own structures, because its interface tells neither when a delayed
 * job is due nor what is fetched next; `store.queue-watch.test.ts` notices if BullMQ changes them.
 *
 * All times here go by this machine's clock, as BullMQ's do.
 */
import type { QueueName } from '../queues.ts';
import type { Redis } from '../redis.ts';

/** A delayed job's score is its time in ms, times this, plus a counter. */
const PER_MS = 0x1000;

/** @returns how late the most overdue delayed job is, in ms; 0 where none is late */
export async function overdueMs(redis: Redis, prefix: string, queue: QueueName): Promise<number> {
  const [, score] = await firstDelayed(redis, prefix, queue);
  return score === undefined ? 0 : Math.max(0, Date.now() - Number(score) / PER_MS);
}

/** @returns the job that would be fetched next: the same for long means that nobody fetches. Null: nothing is due */
export async function nextDue(redis: Redis, prefix: string, queue: QueueName): Promise<string | null> {
  const waiting = await redis.lindex(`${prefix}:${queue}:wait`, -1);
  if (waiting !== null) return waiting;
  const [behind] = await redis.zrange(`${prefix}:${queue}:prioritized`, '0', '0');
  if (behind !== undefined) return behind;
  const [id, score] = await firstDelayed(redis, prefix, queue);
  return id !== undefined && Number(score) / PER_MS <= Date.now() ? id : null;
}

function firstDelayed(redis: Redis, prefix: string, queue: QueueName): Promise<string[]> {
  return redis.zrange(`${prefix}:${queue}:delayed`, '0', '0', 'WITHSCORES');
}
