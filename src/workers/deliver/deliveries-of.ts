/** Who is told of a change, and with which body: its callback, and every endpoint that wants to hear of it. */
import { DEFAULT_EVENTS, type WebhookPayload } from '../../protocol/webhook.ts';
import { CALLBACKS, type NewDelivery } from '../../store/deliveries.ts';
import { type Endpoint, hears } from '../../store/webhooks.ts';
import type { Change } from './change-of.ts';

export async function deliveriesOf(change: Change, endpoints: Endpoint[]): Promise<NewDelivery[]> {
  const { type, subject, version, created_by: owner, data } = change;
  const callback = DEFAULT_EVENTS.includes(type) ? change.callback_url : null;
  const listeners = endpoints.filter((endpoint) => hears(endpoint, type, change));
  if (callback === null && listeners.length === 0) return [];

  const payload: WebhookPayload = { type, timestamp: new Date(change.at).toISOString(), data: await data() };
  const body = JSON.stringify(payload);
  const deliveryTo = (target: string, receiver: string, url: string): NewDelivery => ({
    id: `msg_${subject}_${version}_${receiver}`,
    ...{ subject, version, type, target, owner, url, body },
  });
  return [
    ...(callback === null ? [] : [deliveryTo(CALLBACKS, 'callback', callback)]),
    ...listeners.map(({ id, url }) => deliveryTo(id, id, url)),
  ];
}
