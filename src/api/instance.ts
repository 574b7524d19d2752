/**
 * What a Fastify instance and a request of this API carry beyond Fastify's own: who calls, what a route asks of
 * its callers, and what its audit line says.
 */
import type { IncomingMessage, ServerResponse } from 'node:http';
import type { TypeBoxTypeProvider } from '@fastify/type-provider-typebox';
import type { FastifyBaseLogger, FastifyInstance, RawServerDefault } from 'fastify';
import type { ApiKey, Scope } from '../store/api-keys.ts';

export type Api = FastifyInstance<
  RawServerDefault,
  IncomingMessage,
  ServerResponse,
  FastifyBaseLogger,
  TypeBoxTypeProvider
>;

declare module 'fastify' {
  interface FastifyContextConfig {
    /** What a key needs to call this. Every route under `/v1` has one; a route without one is open to all. */
    scope?: Scope;
    /** The fixed dotted name of the audit line, such as `job.submit`. Every route that writes has one. */
    audit?: string;
    /** A request without a body means `{}`. */
    bodyOptional?: boolean;
  }
  interface FastifyRequest {
    /** Whose key it is; set before any handler of a route with a scope runs. */
    caller: ApiKey;
    /** What the audit line says besides who and whether: ids and names, never a secret. */
    audited: Record<string, unknown>;
  }
}
