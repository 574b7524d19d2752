/**
 * Deliveries: each is one event of one job or batch for one receiver, from the outbox to its end (`delivered` or `dead`).
 *
 * Invariants: an outbox entry goes in the script that makes its deliveries, so that it is neither lost nor told
 * twice; a delivery waits in the queue of its receiver's origin until its end is committed, a request under way
 * only holds a lease; at most `perOrigin` leases of one origin are out at once, in all processes.
 */
import { type Claim, type Claimed, claim, takeDue } from './deliveries/claim.ts';
import { expand } from './deliveries/expand.ts';
import { type DeliveryList, get, list } from './deliveries/list.ts';
import { type Outgoing, readOutbox } from './deliveries/outbox.ts';
import type { Delivery, DeliveryAttempt, NewDelivery } from './deliveries/record.ts';
import { redeliver } from './deliveries/redeliver.ts';
import { settle, type Verdict } from './deliveries/settle.ts';
import type { Keys } from './keys.ts';
import type { Redis } from './redis.ts';

export type { Claim, Claimed } from './deliveries/claim.ts';
export type { Outgoing } from './deliveries/outbox.ts';
export { CALLBACKS } from './deliveries/places.ts';
export type { Delivery, DeliveryAttempt, NewDelivery } from './deliveries/record.ts';
export type { Verdict } from './deliveries/settle.ts';

export interface DeliveryStore {
  /** The oldest changes of the outbox. */
  outbox(limit: number): Promise<Outgoing[]>;
  /** Takes a change out of the outbox and makes its deliveries; false if somebody else has. */
  expand(outgoing: Outgoing, deliveries: NewDelivery[]): Promise<boolean>;
  /** Origins with something due; each is named once in a while only, unless something new comes due. */
  takeDue(limit: number): Promise<string[]>;
  claim(origin: string, limits: { perOrigin: number; leaseMs: number }): Promise<Claim>;
  /** Records an attempt and what follows from it; false if the lease had run out and somebody else took over. */
  settle(claimed: Claimed, attempt: DeliveryAttempt, verdict: Verdict): Promise<boolean>;
  get(id: string): Promise<Delivery | null>;
  /** Newest first; null where `after` is not in the list. */
  list(
    of: DeliveryList,
    page: { size: number; after?: string },
  ): Promise<{ deliveries: Delivery[]; after: string | null } | null>;
  /** Sends it again from the first attempt on, under its old id; one that is pending is sent now. */
  redeliver(delivery: Delivery): Promise<Delivery | null>;
  /** How many changes wait in the outbox, and how many deliveries are dead. */
  counts(): Promise<{ outbox: number; dead: number }>;
}

export function createDeliveryStore({ redis, keys }: { redis: Redis; keys: Keys }): DeliveryStore {
  return {
    outbox: (limit) => readOutbox(redis, keys, limit),
    expand: (outgoing, deliveries) => expand(redis, keys, outgoing, deliveries),
    takeDue: (limit) => takeDue(redis, keys, limit),
    claim: (origin, limits) => claim(redis, keys, origin, limits),
    settle: (claimed, attempt, verdict) => settle(redis, keys, claimed, attempt, verdict),
    get: (id) => get(redis, keys, id),
    list: (of, page) => list(redis, keys, of, page),
    async redeliver(delivery) {
      return (await redeliver(redis, keys, delivery)) ? get(redis, keys, delivery.id) : null;
    },
    async counts() {
      const [outbox, dead] = await Promise.all([redis.llen(keys.outbox), redis.zcard(keys.deliveriesDead)]);
      return { outbox, dead };
    },
  };
}
