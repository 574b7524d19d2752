/**
 * From changes to deliveries. The store takes a change out of the outbox in the script that makes its deliveries; one
 * that nobody wants to hear of just goes.
 */
import type { Logger } from 'pino';
import type { Job } from '../../job/record.ts';
import type { DeliveryStore, NewDelivery, Outgoing } from '../../store/deliveries.ts';
import type { Endpoint, EndpointStore } from '../../store/webhooks.ts';
import { changeOf } from './change-of.ts';
import { deliveriesOf } from './deliveries-of.ts';

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
      if (!entry) log.warn({ entry: text.slice(0, 100) }, 'webhook.expand.record_gone');
      const change = entry && changeOf(entry, view);
      return change ? await deliveriesOf(change, all) : [];
    } catch (err) {
      log.error({ err, entry: text.slice(0, 100) }, 'webhook.expand.unreadable');
      return null;
    }
  }
}
