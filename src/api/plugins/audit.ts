/**
 * The audit line: one for every write and every refusal, when its reply is decided. Who, from where, what and
 * with what result; never a header, a body or a token.
 */
import type { Api } from '../instance.ts';
import { routeName } from '../route-name.ts';

export function auditRequests(app: Api): void {
  app.addHook('onResponse', async (request, reply) => {
    const { audit } = request.routeOptions.config ?? {};
    const status = reply.statusCode;
    if (audit === undefined && status < 400) return;
    const decision = status < 400 ? 'allowed' : status < 500 ? 'refused' : 'failed';
    request.log.info(
      {
        audit: true,
        event: audit ?? 'api.read',
        key: request.caller?.name ?? null,
        key_id: request.caller?.id ?? null,
        address: request.ip,
        method: request.method,
        route: routeName(request),
        ...request.audited,
        decision,
        status,
        duration_ms: Math.round(reply.elapsedTime),
      },
      `${audit ?? 'api.read'} ${decision}`,
    );
  });
}
