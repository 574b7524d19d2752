/**
 * The HTTP API, built from what it is given: nothing is connected, read from the environment or listened on
 * here, so that a test builds the same server as `main.ts`.
 *
 * The order matters: who calls is settled before a body is read, and every error passes the one place that
 * makes it a problem document.
 */
import { randomUUID } from 'node:crypto';
import { type FastifyBaseLogger, type FastifyServerOptions, fastify, LogController } from 'fastify';
import type { ProcessMetrics } from '../metrics/process.ts';
import { createHolds } from './holds.ts';
import type { Api } from './instance.ts';
import { measureRequests } from './metrics.ts';
import { auditRequests } from './plugins/audit.ts';
import { authenticateCallers } from './plugins/authentication.ts';
import { acceptJsonBodies } from './plugins/bodies.ts';
import { answerBrokenRequests, frameworkProblem } from './plugins/broken-requests.ts';
import { closePromptly } from './plugins/closing.ts';
import { describeApi } from './plugins/openapi.ts';
import { replyWithProblems } from './plugins/problems.ts';
import { type Given, registerRoutes } from './routes.ts';
import { createValidatorCompiler } from './validation.ts';

export interface ApiDeps extends Given {
  logger: FastifyBaseLogger;
  /** A request failed because the store did; for the log of outages. */
  onStoreTrouble: (error: unknown) => void;
  /** The gateway's, for the OpenAPI document. */
  version: string;
  /** How many requests may be held open (long polls, streams). */
  holdLimits: { perKey: number; total: number };
  metrics: Pick<ProcessMetrics, 'registry'>;
  /** PEM. With `ca`, callers must show a certificate that it signed. */
  tls?: { cert: string; key: string; ca?: string };
}

/** One legal request fits: 64 KiB of command and twice 32 KiB of environment, each byte escaped as `\u00xx`. */
const BODY_LIMIT_BYTES = 1_048_576;
/** A host's name may have 253 characters, and each may come as `%xx`. */
const PARAM_LIMIT = 800;
/** Above the idle limits of common load balancers, so that they close first. */
const KEEP_ALIVE_MS = 72_000;
/** For a request to arrive as a whole; how long a reply may take is each route's own matter. */
const REQUEST_MS = 30_000;

export async function buildApp(deps: ApiDeps): Promise<Api> {
  const app = fastify(serverOptions(deps)) as unknown as Api;
  const closing = closePromptly(app);
  const holds = createHolds(deps.holdLimits);

  app.setValidatorCompiler(createValidatorCompiler());
  app.decorateRequest('audited');
  app.addHook('onRequest', async (request, reply) => {
    request.audited = {};
    reply.header('x-request-id', request.id).header('x-content-type-options', 'nosniff');
  });
  replyWithProblems(app, deps);
  const { registry } = deps.metrics;
  measureRequests(app, { registry, holds });
  auditRequests(app);
  authenticateCallers(app, deps);
  acceptJsonBodies(app);
  await describeApi(app, deps.version);
  registerRoutes(app, { ...deps, holds, registry, closing });
  return app;
}

function serverOptions({ logger, tls }: ApiDeps): FastifyServerOptions {
  return {
    loggerInstance: logger,
    // The audit line says what is to be said; a logged request would carry its query.
    logController: new LogController({ disableRequestLogging: true, requestIdLogLabel: 'request_id' }),
    genReqId: () => `req_${randomUUID()}`,
    bodyLimit: BODY_LIMIT_BYTES,
    routerOptions: { maxParamLength: PARAM_LIMIT },
    keepAliveTimeout: KEEP_ALIVE_MS,
    requestTimeout: REQUEST_MS,
    // A closing server still answers what it has accepted, and refuses by not listening.
    return503OnClosing: false,
    frameworkErrors: frameworkProblem,
    clientErrorHandler: answerBrokenRequests,
    ...(tls && { https: { ...tls, minVersion: 'TLSv1.2', ...(tls.ca && CLIENT_CERTIFICATE) } }),
  } as FastifyServerOptions;
}

const CLIENT_CERTIFICATE = { requestCert: true, rejectUnauthorized: true };
