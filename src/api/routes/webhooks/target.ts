/**
 * Which endpoint or list a request means. Somebody else's endpoint is "not found", as what is not there; the
 * deliveries of callbacks are read under the id `callbacks`, by each key its own.
 */
import type { FastifyRequest } from 'fastify';
import Type from 'typebox';
import { SluiceError } from '../../../job/errors.ts';
import type { Endpoint, EndpointStore } from '../../../store/webhooks.ts';
import { maySee } from '../../access.ts';

export const ENDPOINT_PATH = '/v1/webhooks/:id(^[A-Za-z0-9_-]+$)';
export const EndpointParams = Type.Object({ id: Type.String({ description: "The endpoint's id." }) });

export const pageFields = {
  page_size: Type.Integer({ minimum: 1, maximum: 200, default: 50, description: 'At most so many.' }),
  page_token: Type.Optional(Type.String({ description: '`next_page_token` of the page before.' })),
};

type WithId = Pick<FastifyRequest, 'caller' | 'audited'> & { params: { id: string } };

/** @throws SluiceError not_found */
export async function findEndpoint(
  request: WithId,
  endpoints: Pick<EndpointStore, 'get'>,
): Promise<Endpoint> {
  const { id } = request.params;
  request.audited.webhook = id;
  const endpoint = await endpoints.get(id);
  return there(id, endpoint && maySee(request.caller, endpoint) ? endpoint : null);
}

/** @throws SluiceError not_found */
export function there<T>(id: string, value: T | null): T {
  if (value === null) throw new SluiceError('not_found', `there is no webhook ${id}`);
  return value;
}
