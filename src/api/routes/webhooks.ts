/** `/v1/webhooks`: endpoints and their deliveries, for their owner and for admins. */
import type { Api } from '../instance.ts';
import { type DeliveryDeps, deliveryRoutes } from './webhooks/deliveries.ts';
import { type EndpointDeps, endpointRoutes } from './webhooks/endpoints.ts';

export type WebhookDeps = EndpointDeps & DeliveryDeps;

export function webhookRoutes(app: Api, deps: WebhookDeps): void {
  endpointRoutes(app, deps);
  deliveryRoutes(app, deps);
}
