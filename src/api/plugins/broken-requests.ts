/** Requests that never reach a route: an address that cannot be parsed, bytes that are no HTTP. */
import { STATUS_CODES } from 'node:http';
import type { Socket } from 'node:net';
import type { FastifyError, FastifyReply, FastifyRequest } from 'fastify';
import { ERRORS, type ErrorCode } from '../../job/errors.ts';
import { PROBLEM_CONTENT_TYPE, problemType } from '../../protocol/problem.ts';
import { sendProblem, toSluiceError } from './problems.ts';

/** For Fastify's `frameworkErrors`: these skip all hooks, so a request has none of our fields yet. */
export function frameworkProblem(error: FastifyError, request: FastifyRequest, reply: FastifyReply): void {
  request.audited = {};
  const problem = toSluiceError(error, request);
  request.log.info({
    audit: true,
    event: 'api.read',
    decision: 'refused',
    code: problem.code,
    address: request.ip,
  });
  sendProblem(request, reply, problem);
}

const STATUS: Record<string, number> = {
  HPE_HEADER_OVERFLOW: 431,
  ERR_HTTP_REQUEST_TIMEOUT: 408,
};

/** For Fastify's `clientErrorHandler`: there is no request and no reply, only a socket. */
export function answerBrokenRequests(error: Error & { code?: string }, socket: Socket): void {
  if (error.code === 'ECONNRESET' || !socket.writable) {
    socket.destroy();
    return;
  }
  const code: ErrorCode = 'invalid_request';
  const status = STATUS[error.code ?? ''] ?? 400;
  const body = JSON.stringify({
    type: problemType(code),
    title: ERRORS[code].title,
    status,
    detail: STATUS_CODES[status],
    code,
  });
  socket.end(
    `HTTP/1.1 ${status} ${STATUS_CODES[status]}\r\nConnection: close\r\n` +
      `Content-Type: ${PROBLEM_CONTENT_TYPE}\r\nContent-Length: ${Buffer.byteLength(body)}\r\n\r\n${body}`,
  );
}
