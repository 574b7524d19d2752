/** A route as people write it, for logs and metrics: `/v1/jobs/{id}:cancel`; null where none was found. */
import type { FastifyRequest } from 'fastify';

export function routeName(request: FastifyRequest): string | null {
  const { url } = request.routeOptions;
  return (
    url?.replaceAll(/::|:(\w+)(?:\([^)]*\))?/g, (_, name?: string) => (name ? `{${name}}` : ':')) ?? null
  );
}
