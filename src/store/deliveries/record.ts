/**
 * A delivery as Redis keeps it: a hash of texts. The body is fixed when the delivery is made, so that every
 * attempt sends the same bytes, and a dead one can be sent again after the record of its job or batch is gone.
 */
import type { EventType } from '../../protocol/webhook.ts';

export interface DeliveryAttempt {
  /** Milliseconds since 1970. */
  at: number;
  duration_ms: number;
  /** The receiver's HTTP status; null where there was no reply. */
  status: number | null;
  /** A word for why it failed, such as `timeout` or `http_status`; null for a success. */
  error: string | null;
  /** One sentence for people. */
  detail: string | null;
  /** The first KiB of the reply. */
  response: string | null;
}

/** What is known of a delivery when it is made. */
export interface NewDelivery {
  /** `msg_<job or batch>_<version>_<receiver>`: the same event for the same receiver is the same delivery. */
  id: string;
  /** The id of the job or batch that it tells of. */
  subject: string;
  version: number;
  type: EventType;
  /** An endpoint's id, or `callbacks`. */
  target: string;
  /** The name of the API key that made the job or batch. */
  owner: string;
  url: string;
  body: string;
}

export interface Delivery extends NewDelivery {
  /** In whose queue it waits: `https://host:port` as of its making. */
  origin: string;
  state: 'pending' | 'delivered' | 'dead';
  /** Attempts since it was made or sent again. */
  tries: number;
  created_at: number;
  next_attempt_at: number | null;
  ended_at: number | null;
  /** Why it is dead. */
  reason: string | null;
  /** The last ones, oldest first. */
  attempts: DeliveryAttempt[];
}

/** How many attempts are kept. */
export const KEPT_ATTEMPTS = 20;

/** Names and values of the hash, without those that the script adds. */
export function encodeDelivery(delivery: NewDelivery): string[] {
  const { id: _, subject, ...rest } = delivery;
  // Its name from before batches, which stored deliveries have.
  const fields = { job_id: subject, ...rest };
  return [...Object.entries(fields).flatMap(([name, value]) => [name, String(value)]), 'attempts', '[]'];
}

export function originOf(url: string): string {
  return new URL(url).origin;
}

/** @returns null if there is no such delivery */
export function decodeDelivery(id: string, hash: Record<string, string>): Delivery | null {
  const {
    job_id: subject,
    type,
    target,
    owner,
    url,
    origin,
    body,
    state,
    attempts = '[]',
    reason = null,
  } = hash;
  if (!subject || !type || !target || owner === undefined || !url || !origin || !body || !state) return null;
  const time = (text: string | undefined) => (text === undefined ? null : Number(text));
  return {
    id,
    subject,
    version: Number(hash.version),
    type: type as EventType,
    target,
    owner,
    url,
    origin,
    body,
    state: state as Delivery['state'],
    tries: Number(hash.tries),
    created_at: Number(hash.created_at),
    next_attempt_at: time(hash.next_attempt_at),
    ended_at: time(hash.ended_at),
    reason,
    attempts: JSON.parse(attempts) as DeliveryAttempt[],
  };
}
