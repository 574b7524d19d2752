/**
 * Who calls, and whether the route's scope is theirs: decided before a body is read. Nothing under `/v1`
 * answers without a key, not even "there is no such thing"; a `/v1` route without a scope does not start.
 */
import type { FastifyRequest } from 'fastify';
import { SluiceError } from '../../job/errors.ts';
import { type ApiKeyStore, hasScope } from '../../store/api-keys.ts';
import type { Api } from '../instance.ts';

export interface AuthenticationDeps {
  apiKeys: Pick<ApiKeyStore, 'authenticate'>;
}

export function authenticateCallers(app: Api, { apiKeys }: AuthenticationDeps): void {
  app.addHook('onRoute', ({ url, config }) => {
    if (isOurs(url) && config?.scope === undefined) throw new Error(`the route ${url} names no scope`);
  });

  app.addHook('onRequest', async (request) => {
    const { scope } = request.routeOptions.config ?? {};
    if (scope === undefined && !isOurs(request.url)) return;
    const token = presentedKey(request);
    if (token === null) throw new SluiceError('unauthenticated', 'send Authorization: Bearer <API key>');
    const caller = await apiKeys.authenticate(token);
    if (!caller) throw new SluiceError('unauthenticated', 'the API key is not known or was revoked');
    request.caller = caller;
    if (scope !== undefined && !hasScope(caller, scope)) {
      throw new SluiceError('forbidden', `the API key ${caller.name} lacks the scope ${scope}`);
    }
  });
}

function isOurs(url: string): boolean {
  return /^\/v1(?:[/:?]|$)/.test(url);
}

/** `X-Agent-Token` is what clients of the agents send; `Authorization` wins where both are there. */
function presentedKey(request: FastifyRequest): string | null {
  const { authorization, 'x-agent-token': agentToken } = request.headers;
  if (authorization !== undefined) return /^Bearer +(\S+)$/i.exec(authorization)?.[1] ?? null;
  return typeof agentToken === 'string' && agentToken !== '' ? agentToken : null;
}
