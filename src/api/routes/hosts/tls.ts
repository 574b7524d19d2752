/** `tls` of a host: exactly one way to know that the right agent answers. */
import Type, { type Static } from 'typebox';
import { SluiceError } from '../../../job/errors.ts';
import type { HostTls } from '../../../job/host.ts';

const TlsFields = {
  fingerprint: Type.Optional(
    Type.String({
      pattern: '^([0-9A-Fa-f]{2}:?){31}[0-9A-Fa-f]{2}$',
      description: "sha256 of the agent's certificate (DER), hex.",
    }),
  ),
  ca: Type.Optional(
    Type.String({
      maxLength: 65_536,
      pattern: '^\\s*-----BEGIN CERTIFICATE-----',
      description: 'The certificate of the authority that signed it, PEM.',
    }),
  ),
  pin: Type.Optional(
    Type.Unsafe<'first_use'>({
      type: 'string',
      enum: ['first_use'],
      description: 'Take the certificate that is shown first, and only that one from then on; the default.',
    }),
  ),
  insecure: Type.Optional(
    Type.Unsafe<true>({ type: 'boolean', enum: [true], description: 'Take any certificate.' }),
  ),
  dangerously_off: Type.Optional(
    Type.Unsafe<true>({ type: 'boolean', enum: [true], description: 'Plain HTTP; loopback only.' }),
  ),
};

export const TlsView = Type.Unsafe<HostTls>(
  Type.Object(TlsFields, { description: 'How the agent proves itself; one of the fields.' }),
);

export const TlsBody = Type.Unsafe<Static<ReturnType<typeof tlsObject>> | null>({
  ...tlsObject(),
  type: ['object', 'null'],
});

function tlsObject() {
  return Type.Object(TlsFields, {
    additionalProperties: false,
    description: 'How the agent proves itself: exactly one of the fields; null: the default.',
  });
}

/** @param field where it stands in the request. @throws SluiceError invalid_request */
export function parseTls(body: Static<typeof TlsBody>, field: string): HostTls | null {
  if (body === null) return null;
  const [[name, value] = [], ...others] = Object.entries(body);
  if (name === undefined || others.length > 0) {
    throw new SluiceError('invalid_request', `${field} must have exactly one field`, { fields: { field } });
  }
  if (name !== 'fingerprint') return body as HostTls;
  return { fingerprint: String(value).replaceAll(':', '').toLowerCase() };
}
