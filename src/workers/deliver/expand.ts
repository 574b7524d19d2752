/**
 * From changes to deliveries: who is told of a change, and with which body. The store takes the change out of
 * the outbox in the script that makes its deliveries; a change that nobody wants to hear of just goes.
 */
import type { Logger } from 'pino';
import type { Job, JobEventType } from '../../job/record.ts';
import { DEFAULT_EVENTS, isEventType, type WebhookPayload } from '../../protocol/webhook.ts';
import { CALLBACKS, type DeliveryStore, type NewDelivery, type Outgoing } from '../../store/deliveries.ts';
import { type Endpoint, type EndpointStore, hears } from '../../store/webhooks.ts';

export interface ExpandDeps {
  deliveries: Pick<DeliveryStore, 'outbox' | 'expand'>;
  endpoints: Pick<EndpointStore, 'list'>;
  /** The job as callers see it; without its environment. */
  view: (job: Job) => Promise<unknown>;
  log: Logger;
}

const BATCH = 100;

/** Empties the outbox, but for what cannot be read: that is left for people to see. @returns deliveries made */
export async function expandOutbox({ deliveries, endpoints, view, log }: ExpandDeps): Promise<number> {
  let made = 0;
  for (;;) {
    const batch = await deliveries.outbox(BATCH);
    const all = batch.length > 0 ? await endpoints.list() : [];
    let taken = 0;
    for (const outgoing of batch) {
      const wanted = await wantedBy(outgoing, all);
      if (!wanted || !(await deliveries.expand(outgoing, wanted))) continue;
      taken++;
      made += wanted.length;
    }
    if (taken === 0) return made;
  }

  async function wantedBy({ text, entry, error }: Outgoing, all: Endpoint[]): Promise<NewDelivery[] | null> {
    try {
      if (error !== undefined) throw error;
      if (!entry) log.warn({ entry: text.slice(0, 100) }, 'webhook.expand.job_gone');
      return entry && isEventType(entry.type) ? await toTell({ ...entry, type: entry.type }, all, view) : [];
    } catch (err) {
      log.error({ err, entry: text.slice(0, 100) }, 'webhook.expand.unreadable');
      return null;
    }
  }
}

interface Told {
  id: string;
  version: number;
  type: JobEventType;
  at: number;
  job: Job;
}

async function toTell(change: Told, endpoints: Endpoint[], view: ExpandDeps['view']): Promise<NewDelivery[]> {
  const { job, type, version } = change;
  const callback = job.callback_url !== null && DEFAULT_EVENTS.includes(type) ? job.callback_url : null;
  const listeners = endpoints.filter((endpoint) => hears(endpoint, type, job));
  if (callback === null && listeners.length === 0) return [];

  const payload: WebhookPayload = {
    type,
    timestamp: new Date(change.at).toISOString(),
    data: await view(job),
  };
  const body = JSON.stringify(payload);
  const deliveryTo = (target: string, receiver: string, url: string): NewDelivery => ({
    id: `msg_${job.id}_${version}_${receiver}`,
    job_id: job.id,
    version,
    type,
    target,
    owner: job.created_by,
    url,
    body,
  });
  return [
    ...(callback === null ? [] : [deliveryTo(CALLBACKS, 'callback', callback)]),
    ...listeners.map(({ id, url }) => deliveryTo(id, id, url)),
  ];
}
