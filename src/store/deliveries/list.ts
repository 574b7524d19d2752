/** Reading deliveries, one or a page of a receiver's, newest first. */
import type { Keys } from '../keys.ts';
import { type Hash, results } from '../redis/replies.ts';
import type { Redis } from '../redis.ts';
import { deadListOf, listOf } from './places.ts';
import { type Delivery, decodeDelivery } from './record.ts';

export interface DeliveryList {
  /** An endpoint's id, or `callbacks`. */
  target: string;
  /** `callbacks` only: whose. */
  owner: string;
  state?: 'dead';
}

export async function get(redis: Redis, keys: Keys, id: string): Promise<Delivery | null> {
  return decodeDelivery(id, await redis.hgetall(keys.delivery(id)));
}

export async function list(
  redis: Redis,
  keys: Keys,
  of: DeliveryList,
  { size, after }: { size: number; after?: string },
): Promise<{ deliveries: Delivery[]; after: string | null } | null> {
  const name = of.state === 'dead' ? deadListOf(keys, of) : listOf(keys, of);
  let start = 0;
  if (after !== undefined) {
    const rank = await redis.zrevrank(name, after);
    if (rank === null) return null;
    start = rank + 1;
  }
  const ids = await redis.zrevrange(name, start, start + size);
  const page = ids.slice(0, size);
  const pipeline = redis.pipeline();
  for (const id of page) pipeline.hgetall(keys.delivery(id));
  const hashes = (page.length > 0 ? await results(pipeline) : []) as Hash[];
  // The record of a delivery goes before its place in the list does.
  const deliveries = page.flatMap((id, i) => decodeDelivery(id, hashes[i] ?? {}) ?? []);
  return { deliveries, after: ids.length > size ? (page.at(-1) ?? null) : null };
}
