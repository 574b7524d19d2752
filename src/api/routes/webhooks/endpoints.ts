/** Endpoints: who wants to be told of which jobs. A secret is shown when it is made, and never again. */
import Type from 'typebox';
import { SluiceError } from '../../../job/errors.ts';
import { hasScope } from '../../../store/api-keys.ts';
import type { EndpointStore } from '../../../store/webhooks.ts';
import { maySee } from '../../access.ts';
import type { Api } from '../../instance.ts';
import type { PageTokens } from '../../page-tokens.ts';
import { ENDPOINT_PATH, EndpointParams, findEndpoint, pageFields, there } from './target.ts';
import {
  CreateBody,
  EndpointPage,
  EndpointView,
  EndpointWithSecret,
  endpointView,
  PatchBody,
} from './views.ts';

export interface EndpointDeps {
  endpoints: EndpointStore;
  /** @returns why this address may not be called; null if it may */
  refuseCallback: (url: string) => Promise<string | null>;
  pageTokens: PageTokens;
}

const PageQuery = Type.Object(pageFields, { additionalProperties: false });
const tags = ['Webhooks'];
const scope = 'webhooks:write';

export function endpointRoutes(app: Api, { endpoints, refuseCallback, pageTokens }: EndpointDeps): void {
  app.post(
    '/v1/webhooks',
    {
      config: { scope, audit: 'webhook.create' },
      schema: {
        tags,
        summary: 'Register an endpoint',
        description: 'The reply carries the secret that signs its deliveries (Standard Webhooks), once.',
        body: CreateBody,
        response: { 201: EndpointWithSecret },
      },
    },
    async ({ body, caller, audited }, reply) => {
      await checkUrl(body.url);
      const owner = { name: caller.name, admin: hasScope(caller, 'admin') };
      const { endpoint, secret } = await endpoints.create(body, owner);
      audited.webhook = endpoint.id;
      reply.code(201).header('location', `/v1/webhooks/${endpoint.id}`);
      return { ...endpointView(endpoint), secret };
    },
  );

  app.get(
    '/v1/webhooks',
    {
      config: { scope },
      schema: { tags, summary: 'List endpoints', querystring: PageQuery, response: { 200: EndpointPage } },
    },
    async ({ caller, query }) => {
      const filters = ['webhooks', caller.name];
      const after = pageTokens.read(query.page_token, filters) ?? '';
      // A ULID's order is the order of creation.
      const all = (await endpoints.list()).filter((one) => maySee(caller, one) && one.id > after);
      const page = all.slice(0, query.page_size);
      const last = all.length > page.length ? (page.at(-1)?.id ?? null) : null;
      return { items: page.map(endpointView), next_page_token: pageTokens.issue(last, filters) };
    },
  );

  app.get(
    ENDPOINT_PATH,
    {
      config: { scope },
      schema: { tags, summary: 'Read an endpoint', params: EndpointParams, response: { 200: EndpointView } },
    },
    async (request) => endpointView(await findEndpoint(request, endpoints)),
  );

  app.patch(
    ENDPOINT_PATH,
    {
      config: { scope, audit: 'webhook.update' },
      schema: {
        tags,
        summary: 'Change an endpoint',
        description:
          'What is left out stays. `"disabled": false` takes one that answered 410 into use again.',
        params: EndpointParams,
        body: PatchBody,
        response: { 200: EndpointView },
      },
    },
    async (request) => {
      const { id } = await findEndpoint(request, endpoints);
      if (request.body.url !== undefined) await checkUrl(request.body.url);
      return endpointView(there(id, await endpoints.patch(id, request.body)));
    },
  );

  app.delete(
    ENDPOINT_PATH,
    {
      config: { scope, audit: 'webhook.delete' },
      schema: {
        tags,
        summary: 'Remove an endpoint',
        description: 'What is still to be sent to it is given up.',
        params: EndpointParams,
        response: { 204: Type.Null({ description: 'Removed.' }) },
      },
    },
    async (request, reply) => {
      await endpoints.remove((await findEndpoint(request, endpoints)).id);
      return reply.code(204).send(null);
    },
  );

  app.post(
    `${ENDPOINT_PATH}::rotate_secret`,
    {
      config: { scope, audit: 'webhook.rotate_secret', bodyOptional: true },
      schema: {
        tags,
        summary: 'Give an endpoint a new secret',
        description: 'For 24 hours the old and the new secret both sign.',
        params: EndpointParams,
        response: { 200: EndpointWithSecret },
      },
    },
    async (request) => {
      const { id } = await findEndpoint(request, endpoints);
      const { endpoint, secret } = there(id, await endpoints.rotateSecret(id));
      return { ...endpointView(endpoint), secret };
    },
  );

  async function checkUrl(url: string): Promise<void> {
    const refusal = await refuseCallback(url);
    if (refusal !== null)
      throw new SluiceError('callback_url_forbidden', refusal, { fields: { field: 'url' } });
  }
}
