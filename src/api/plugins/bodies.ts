/**
 * Request bodies: JSON in UTF-8, whatever the bytes. Node would turn bytes that are not UTF-8 into U+FFFD, and
 * a command with a U+FFFD in it is another command.
 */
import type { FastifyReply, FastifyRequest } from 'fastify';
import { SluiceError } from '../../job/errors.ts';
import type { Api } from '../instance.ts';

export function acceptJsonBodies(app: Api): void {
  // Fastify's own parser, for its refusal of `__proto__`; the text is decoded here.
  const parse = app.getDefaultJsonParser('error', 'error');
  app.removeAllContentTypeParsers();
  app.addContentTypeParser('application/json', { parseAs: 'buffer' }, (request, body, done) => {
    const refusal = refuseCoding(request);
    if (refusal) return done(refusal);
    if (body.length === 0) return done(null, undefined);
    try {
      const text = new TextDecoder('utf-8', { fatal: true }).decode(body as Buffer);
      parse(request, text, (error, value) => done(error && invalidJson('the body is not JSON'), value));
    } catch {
      done(invalidJson('the body is not UTF-8'));
    }
  });

  app.addHook('preValidation', async (request: FastifyRequest, _reply: FastifyReply) => {
    if (request.body === undefined && request.routeOptions.config.bodyOptional) request.body = {};
  });
}

function refuseCoding(request: FastifyRequest): SluiceError | null {
  const coding = request.headers['content-encoding'] ?? 'identity';
  const charset = /charset="?([^\s;"]+)/i.exec(request.headers['content-type'] ?? '')?.[1] ?? 'utf-8';
  if (coding.toLowerCase() === 'identity' && charset.toLowerCase() === 'utf-8') return null;
  return new SluiceError('unsupported_media_type', 'the body must be UTF-8 and not compressed');
}

function invalidJson(detail: string): SluiceError {
  return new SluiceError('invalid_json', detail);
}
