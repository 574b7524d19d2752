/**
 * Webhook endpoints and deliveries as callers see them, and what they may send. A secret is in no view: it is
 * shown by itself, once. What a receiver replied is for admins only: private networks can be called, and whoever
 * may name a receiver must not read there through the gateway.
 */
import Type, { type Static } from 'typebox';
import { timestamp } from '../../../protocol/job-view.ts';
import { DEFAULT_EVENTS, EVENT_TYPES, type EventType } from '../../../protocol/webhook.ts';
import type { Delivery } from '../../../store/deliveries.ts';
import type { Endpoint } from '../../../store/webhooks.ts';

const strict = { additionalProperties: false };

function orNull(type: 'string' | 'integer', description: string) {
  return Type.Unsafe<string | number | null>({ type: [type, 'null'], description });
}

const Events = Type.Array(Type.Unsafe<EventType>({ type: 'string', enum: [...EVENT_TYPES] }), {
  minItems: 1,
  uniqueItems: true,
  description: `Which events; by default ends, corrections, and that a batch is paused: ${DEFAULT_EVENTS.join(', ')}.`,
});
const Labels = Type.Record(Type.String({ maxLength: 63 }), Type.String({ maxLength: 255 }), {
  maxProperties: 16,
  description: 'Only jobs and batches that carry all of these labels.',
});
const Url = Type.String({ minLength: 1, maxLength: 2048, description: 'Where to POST; http or https.' });

export const CreateBody = Type.Object(
  { url: Url, events: Type.Optional(Events), labels: Type.Optional(Labels) },
  strict,
);
export type CreateBody = Static<typeof CreateBody>;

export const PatchBody = Type.Object(
  {
    url: Type.Optional(Url),
    events: Type.Optional(Events),
    labels: Type.Optional(Labels),
    disabled: Type.Optional(Type.Boolean({ description: 'False takes it into use again.' })),
  },
  strict,
);
export type PatchBody = Static<typeof PatchBody>;

const endpointFields = {
  id: Type.String(),
  url: Type.String(),
  events: Type.Array(Type.String()),
  labels: Type.Record(Type.String(), Type.String()),
  created_by: Type.String({ description: 'The name of the API key that made it.' }),
  all_jobs: Type.Boolean({ description: "Made by an admin: hears of every key's jobs and batches." }),
  disabled_at: orNull('string', 'Since when nothing is sent to it.'),
  disabled_reason: orNull('string', 'Why.'),
  old_secret_valid_until: orNull('string', 'Until then the secret before the last rotation signs too.'),
  created_at: Type.String(),
  updated_at: Type.String(),
};
export const EndpointView = Type.Object(endpointFields, { description: 'A webhook endpoint.' });
export const EndpointWithSecret = Type.Object(
  { ...endpointFields, secret: Type.String({ description: 'Signs what is sent; shown here only.' }) },
  { description: 'A webhook endpoint and its new secret.' },
);
export const EndpointPage = Type.Object({
  items: Type.Array(EndpointView),
  next_page_token: orNull('string', 'For the next page; null at the end.'),
});

export const DeliveryView = Type.Object(
  {
    id: Type.String({ description: 'The `webhook-id` of every attempt.' }),
    webhook_id: Type.String({ description: "The endpoint's id, or `callbacks`." }),
    type: Type.String(),
    job_id: orNull('string', 'The job that it tells of; null: it tells of a batch.'),
    batch_id: orNull('string', 'The batch that it tells of; null: it tells of a job.'),
    version: Type.Integer({ description: 'The version of the job or batch that it tells of.' }),
    url: Type.String({ description: 'Where it was to go when it was made.' }),
    state: Type.Unsafe<Delivery['state']>({ type: 'string', enum: ['pending', 'delivered', 'dead'] }),
    reason: orNull('string', 'Why it is dead.'),
    created_at: Type.String(),
    next_attempt_at: orNull('string', 'When it is tried next.'),
    ended_at: orNull('string', 'When it arrived or was given up.'),
    attempts: Type.Array(
      Type.Object({
        at: Type.String(),
        duration_ms: Type.Integer(),
        status: orNull('integer', "The receiver's HTTP status; null where there was no reply."),
        error: orNull('string', 'A word for why it failed; null for a success.'),
        detail: orNull('string', 'One sentence.'),
        response: Type.Optional(orNull('string', 'The first KiB of the reply; for admins only.')),
      }),
      { description: 'The last 20, oldest first.' },
    ),
  },
  { description: 'A delivery.' },
);
export const DeliveryPage = Type.Object({
  items: Type.Array(DeliveryView),
  next_page_token: orNull('string', 'For the next page; null at the end.'),
});

export function endpointView(endpoint: Endpoint): Static<typeof EndpointView> {
  const { id, url, events, labels, created_by, all_jobs, disabled_reason } = endpoint;
  return {
    id,
    url,
    events,
    labels,
    created_by,
    all_jobs,
    disabled_at: timestamp(endpoint.disabled_at),
    disabled_reason,
    old_secret_valid_until: timestamp(endpoint.retired[0]?.valid_until ?? null),
    created_at: new Date(endpoint.created_at).toISOString(),
    updated_at: new Date(endpoint.updated_at).toISOString(),
  };
}

export function deliveryView(
  delivery: Delivery,
  options: { responses: boolean },
): Static<typeof DeliveryView> {
  const { id, target, type, subject, version, url, state, reason } = delivery;
  const isOfBatch = subject.startsWith('batch_');
  return {
    id,
    webhook_id: target,
    type,
    job_id: isOfBatch ? null : subject,
    batch_id: isOfBatch ? subject : null,
    version,
    url,
    state,
    reason,
    created_at: new Date(delivery.created_at).toISOString(),
    next_attempt_at: timestamp(delivery.next_attempt_at),
    ended_at: timestamp(delivery.ended_at),
    attempts: delivery.attempts.map(({ response, at, ...attempt }) => ({
      at: new Date(at).toISOString(),
      ...attempt,
      ...(options.responses && { response }),
    })),
  };
}
