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

/**
 * Empties the outbox, but for what cannot be read: that is left for people to see, and passed over.
 * @param onExpanded called after each batch: who is told of its first change does not wait for the last one's deliveries
 */
export async function expandOutbox(
  { deliveries, endpoints, view, log }: ExpandDeps,
  onExpanded: () => Promise<void>,
): Promise<void> {
  let unreadable = 0;
  for (;;) {
    const limit = BATCH + unreadable;
    const batch = await deliveries.outbox(limit);
    const all = batch.length > 0 ? await endpoints.list() : [];
    const ends = await Promise.all(batch.map((outgoing) => expandOne(outgoing, all)));
    const taken = ends.filter((end) => end === 'taken').length;
    if (taken > 0) await onExpanded();
    else if (batch.length < limit) return;
    unreadable = ends.filter((end) => end === 'unreadable').length;
  }

  async function expandOne(
    outgoing: Outgoing,
    all: Endpoint[],
  ): Promise<'taken' | 'by_another' | 'unreadable'> {
    const wanted = await wantedBy(outgoing, all);
    if (!wanted) return 'unreadable';
    return (await deliveries.expand(outgoing, wanted)) ? 'taken' : 'by_another';
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
