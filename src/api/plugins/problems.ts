/**
 * Errors as problem documents (RFC 9457): the one place where an error becomes an HTTP reply. A reply never
 * carries a stack or a value that the caller sent; what is not one of ours is logged and told as `internal`.
 */
import type { FastifyError, FastifyReply, FastifyRequest } from 'fastify';
import { ERRORS, type ErrorCode, hasCode, SluiceError } from '../../job/errors.ts';
import { PROBLEM_CONTENT_TYPE, type Problem, problemType } from '../../protocol/problem.ts';
import type { Api } from '../instance.ts';
import { storeProblem } from '../store-errors.ts';
import { validationProblem } from '../validation.ts';
import { createMethodTable } from './methods.ts';

export interface ProblemDeps {
  /** A request failed because the store did: that is told once, not for each request. */
  onStoreTrouble: (error: unknown) => void;
}

export function replyWithProblems(app: Api, { onStoreTrouble }: ProblemDeps): void {
  const methods = createMethodTable(app);
  app.setErrorHandler((error, request, reply) => {
    const problem = toSluiceError(error as FastifyError, request);
    if (hasCode(problem, 'store_unavailable', 'not_acknowledged')) onStoreTrouble(problem.cause);
    sendProblem(request, reply, problem);
  });
  app.setNotFoundHandler((request, reply) => {
    const path = pathOf(request);
    const allowed = methods.allowed(path);
    if (allowed.length === 0) {
      return sendProblem(request, reply, new SluiceError('not_found', `there is nothing at ${path}`));
    }
    reply.header('allow', allowed.join(', '));
    sendProblem(
      request,
      reply,
      new SluiceError(
        'method_not_allowed',
        `${request.method} is not allowed here; ${allowed.join(', ')} is`,
      ),
    );
  });
}

/** Sends the error as a problem document. */
export function sendProblem(request: FastifyRequest, reply: FastifyReply, error: SluiceError): FastifyReply {
  const { retry_after, ...fields } = error.fields;
  const comeBack = error.status === 503 || error.status === 429 ? (retry_after ?? 1) : retry_after;
  if (comeBack !== undefined) reply.header('retry-after', String(comeBack));
  if (error.status === 401) reply.header('www-authenticate', 'Bearer realm="sluice"');
  request.audited.code = error.code;
  const problem: Problem = {
    type: problemType(error.code),
    title: ERRORS[error.code].title,
    status: error.status,
    detail: error.message,
    instance: pathOf(request),
    code: error.code,
    request_id: request.id,
    ...fields,
  };
  return reply.code(error.status).type(PROBLEM_CONTENT_TYPE).send(JSON.stringify(problem));
}

/** Fastify's own errors by their code. */
const OF_FASTIFY: Record<string, ErrorCode> = {
  FST_ERR_CTP_BODY_TOO_LARGE: 'body_too_large',
  FST_ERR_CTP_INVALID_MEDIA_TYPE: 'unsupported_media_type',
  FST_ERR_CTP_INVALID_CONTENT_LENGTH: 'invalid_request',
  FST_ERR_CTP_EMPTY_JSON_BODY: 'invalid_json',
  FST_ERR_BAD_URL: 'invalid_request',
  FST_ERR_MAX_PARAM_LENGTH: 'uri_too_long',
};

export function toSluiceError(error: FastifyError, request: FastifyRequest): SluiceError {
  if (error instanceof SluiceError) return error;
  if (error.validation) return validationProblem(error.validation as never, error.validationContext);
  const code = OF_FASTIFY[error.code];
  if (code !== undefined) return new SluiceError(code);
  const writes = request.routeOptions.config?.audit !== undefined;
  const unavailable = storeProblem(error, writes);
  if (unavailable) return unavailable;
  // Only what is named here: an error of the Redis client also carries the arguments of its command.
  const { name, message, stack } = error;
  request.log.error({ event: 'http.request.failed', error: { name, message, stack } }, 'a request failed');
  return new SluiceError('internal');
}

/** The path without its query, cut: it is repeated in replies and logs. */
function pathOf(request: FastifyRequest): string {
  return (request.url.split('?', 1)[0] ?? '').slice(0, 300);
}
