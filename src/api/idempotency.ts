/** `Idempotency-Key`, and the fingerprint that tells a repeated request from another one under the same key. */
import { createHmac } from 'node:crypto';
import { SluiceError } from '../job/errors.ts';

const FIELD = 'Idempotency-Key';

/**
 * Parses the header: a structured-field string (`"..."`, with `\"` and `\\`), or, as many clients send it, the
 * bare text.
 * @throws SluiceError invalid_request
 */
export function parseIdempotencyKey(header: string | string[] | undefined): string | null {
  if (header === undefined) return null;
  const text = String(header).trim();
  const quoted = /^"((?:[ !#-[\]-~]|\\["\\])*)"$/.exec(text)?.[1]?.replaceAll(/\\(["\\])/g, '$1');
  const key = quoted ?? (/^[!#-~]+$/.test(text) ? text : '');
  if (key.length >= 1 && key.length <= 255) return key;
  throw new SluiceError('invalid_request', `${FIELD} must be "<1 to 255 printable ASCII characters>"`, {
    fields: { field: FIELD },
  });
}

/**
 * The same for the same body, whatever the order of its fields. Keyed, because a body may hold secrets that
 * could be guessed from a plain digest.
 */
export function fingerprint(body: unknown, pepper: Buffer): string {
  return createHmac('sha256', pepper).update(canonical(body)).digest('base64url');
}

function canonical(value: unknown): string {
  return JSON.stringify(value, (_name, inner: unknown) => {
    if (typeof inner !== 'object' || inner === null || Array.isArray(inner)) return inner;
    return Object.fromEntries(Object.entries(inner).sort(([a], [b]) => (a < b ? -1 : 1)));
  });
}
