/** Deliveries of an endpoint, or of the callbacks of one's own jobs: what became of each, and sending one again. */
import Type from 'typebox';
import { SluiceError } from '../../../job/errors.ts';
import { hasScope } from '../../../store/api-keys.ts';
import { CALLBACKS, type DeliveryStore } from '../../../store/deliveries.ts';
import type { Wake } from '../../../store/queues.ts';
import type { EndpointStore } from '../../../store/webhooks.ts';
import { maySee } from '../../access.ts';
import type { Api } from '../../instance.ts';
import type { PageTokens } from '../../page-tokens.ts';
import { ENDPOINT_PATH, EndpointParams, findEndpoint, pageFields } from './target.ts';
import { DeliveryPage, DeliveryView, deliveryView } from './views.ts';

export interface DeliveryDeps {
  endpoints: Pick<EndpointStore, 'get'>;
  deliveries: Pick<DeliveryStore, 'get' | 'list' | 'redeliver'>;
  wake: Pick<Wake, 'deliver'>;
  pageTokens: PageTokens;
}

const DeliveryParams = Type.Object({
  id: Type.String({ description: "The endpoint's id, or `callbacks` for those of one's own jobs." }),
  delivery: Type.String({ description: "The delivery's id." }),
});
const DeliveriesQuery = Type.Object(
  {
    ...pageFields,
    state: Type.Optional(Type.Literal('dead', { description: 'Only those that were given up.' })),
  },
  { additionalProperties: false },
);
const tags = ['Webhooks'];
const scope = 'webhooks:write';

export function deliveryRoutes(app: Api, { endpoints, deliveries, wake, pageTokens }: DeliveryDeps): void {
  app.get(
    `${ENDPOINT_PATH}/deliveries`,
    {
      config: { scope },
      schema: {
        tags,
        summary: 'List the deliveries of an endpoint',
        description: 'Newest first. With the id `callbacks`: the callbacks of the jobs of this API key.',
        params: EndpointParams,
        querystring: DeliveriesQuery,
        response: { 200: DeliveryPage },
      },
    },
    async (request) => {
      const { caller, query } = request;
      const target = await findTarget(request);
      const filters = ['deliveries', target, caller.name, query.state ?? null];
      const after = pageTokens.read(query.page_token, filters);
      const page = await deliveries.list(
        { target, owner: caller.name, ...(query.state && { state: query.state }) },
        { size: query.page_size, ...(after !== undefined && { after }) },
      );
      if (!page) throw new SluiceError('invalid_page_token', 'the list does not reach back so far any more');
      const options = { responses: hasScope(caller, 'admin') };
      return {
        items: page.deliveries.map((delivery) => deliveryView(delivery, options)),
        next_page_token: pageTokens.issue(page.after, filters),
      };
    },
  );

  app.post(
    `${ENDPOINT_PATH}/deliveries/:delivery(^[A-Za-z0-9_-]+$)::redeliver`,
    {
      config: { scope, audit: 'webhook.redeliver', bodyOptional: true },
      schema: {
        tags,
        summary: 'Send a delivery again',
        description:
          'The same `webhook-id` and body, from the first attempt on. One that is pending is sent now.',
        params: DeliveryParams,
        response: { 202: DeliveryView },
      },
    },
    async (request, reply) => {
      const { caller, params } = request;
      const target = await findTarget(request);
      const found = await deliveries.get(params.delivery);
      const mine =
        found?.target === target && (target !== CALLBACKS || maySee(caller, { created_by: found.owner }));
      const again = mine ? await deliveries.redeliver(found) : null;
      if (!again) throw new SluiceError('not_found', `there is no delivery ${params.delivery}`);
      request.audited.delivery = again.id;
      // Nobody waits for it: where it fails, the sweep finds what is due.
      wake.deliver().catch((error: Error) => {
        request.log.warn({ event: 'webhook.wake.failed', reason: error.message }, 'left to the sweep');
      });
      reply.code(202);
      return deliveryView(again, { responses: hasScope(caller, 'admin') });
    },
  );

  async function findTarget(request: Parameters<typeof findEndpoint>[0]): Promise<string> {
    if (request.params.id === CALLBACKS) return CALLBACKS;
    return (await findEndpoint(request, endpoints)).id;
  }
}
