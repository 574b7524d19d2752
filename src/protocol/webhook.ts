/**
 * Webhooks as Standard Webhooks 1.0 has them: which events there are, what a body looks like, how it is signed.
 *
 * A body is signed when it is sent, with every secret that is valid then: a stored signature would be too old
 * for a receiver on the second day, and during a rotation the receiver may know only one of the secrets.
 */
import { randomBytes } from 'node:crypto';
import { Webhook } from 'standardwebhooks';
import { BATCH_EVENTS, BATCH_OVER, type BatchEventType } from '../job/batch.ts';
import type { JobEventType } from '../job/record.ts';
import { OVER, STATES } from '../job/states.ts';

export const CORRECTIONS = ['job.sighted', 'job.recovered'] as const;

export type EventType = JobEventType | BatchEventType;

/** Everything that an endpoint can subscribe to. */
export const EVENT_TYPES: readonly EventType[] = [
  ...STATES.map((state) => `job.${state}` as const),
  ...CORRECTIONS,
  ...BATCH_EVENTS,
];

/**
 * What a callback is told, and an endpoint that does not choose: a job's end and its corrections, a batch's end, and that
 * a batch is paused, because it goes no further until somebody resumes it.
 */
export const DEFAULT_EVENTS: readonly EventType[] = [
  ...OVER.map((state) => `job.${state}` as const),
  ...CORRECTIONS,
  ...BATCH_OVER.map((state) => `batch.${state}` as const),
  'batch.paused',
];

export function isEventType(word: string): word is EventType {
  return (EVENT_TYPES as readonly string[]).includes(word);
}

export interface WebhookPayload {
  type: EventType;
  /** When it happened, RFC 3339 in UTC; not when it was sent. */
  timestamp: string;
  /** The job or batch as of that version. */
  data: unknown;
}

/** A new secret: `whsec_` and 32 random bytes in base64. */
export function createWebhookSecret(): string {
  return `whsec_${randomBytes(32).toString('base64')}`;
}

/** A message as it is signed; its id has no dot, because a dot separates what is signed. */
export interface SignedMessage {
  id: string;
  /** This attempt's time. */
  at: Date;
  body: string;
  /** All that are valid now, the newest first. */
  secrets: readonly string[];
}

export function signatureHeaders({ id, at, body, secrets }: SignedMessage): Record<string, string> {
  return {
    'webhook-id': id,
    'webhook-timestamp': String(Math.floor(at.getTime() / 1000)),
    'webhook-signature': secrets.map((secret) => new Webhook(secret).sign(id, at, body)).join(' '),
  };
}
