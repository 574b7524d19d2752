/** W3C trace context as a caller sent it. */
import type { FastifyRequest } from 'fastify';

/** Null for anything that is none: it is left out, as the recommendation wants it. */
export function traceparentOf(request: Pick<FastifyRequest, 'headers'>): string | null {
  const header = request.headers.traceparent;
  return typeof header === 'string' && /^[0-9a-f]{2}(?:-[0-9a-f]+)+$/.test(header) && header.length <= 128
    ? header
    : null;
}
