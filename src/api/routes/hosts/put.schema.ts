/** What may be said of a host: the body of a `PUT`, by itself or as one of a list, and the patch that it is. */
import { isIP } from 'node:net';
import Type, { type Static } from 'typebox';
import { SluiceError } from '../../../job/errors.ts';
import type { HostRate } from '../../../job/host.ts';
import { USER_NAME } from '../../../protocol/agent.ts';
import type { HostPatch } from '../../../store/hosts.ts';
import { RATE_FIELDS } from './rate.ts';
import { parseTls, TlsBody } from './tls.ts';

const orNull = <T>(schema: object, type: string) =>
  Type.Optional(Type.Unsafe<T | null>({ ...schema, type: [type, 'null'] }));

export const PutBody = Type.Object(
  {
    address: Type.Optional(
      Type.String({
        minLength: 3,
        maxLength: 260,
        description: '`host:port` of its agent; IPv6 in brackets. Required for a new host.',
      }),
    ),
    token: Type.Optional(
      Type.String({
        pattern: '^[!-~]{1,1024}$',
        description: "The agent's token. Required for a new host, for a new address and for a looser `tls`.",
      }),
    ),
    tls: Type.Optional(TlsBody),
    max_requests: orNull<number>(
      { minimum: 1, maximum: 64, description: 'Simultaneous requests to the agent; null: 4.' },
      'integer',
    ),
    max_jobs: orNull<number>(
      {
        minimum: 1,
        maximum: 100_000,
        description: 'Jobs that it is starting, running or ending at once; null: no limit.',
      },
      'integer',
    ),
    rate: orNull<HostRate>(
      {
        ...RATE_FIELDS,
        description:
          'Requests to its agent in a time; null: 100 in 60 s for a Base agent, no limit for a Full one.',
      },
      'object',
    ),
    labels: orNull<Record<string, string>>(
      {
        maxProperties: 32,
        propertyNames: { pattern: '^[A-Za-z0-9._/-]{1,63}$' },
        additionalProperties: { type: 'string', maxLength: 255 },
        description: 'For selectors and people; null: none.',
      },
      'object',
    ),
    allowed_users: orNull<(string | null)[]>(
      {
        maxItems: 1_000,
        items: { type: ['string', 'null'], pattern: USER_NAME.source },
        description: "Users that jobs may run as; a null inside is the agent's own user; null: all.",
      },
      'array',
    ),
    launcher: orNull<boolean>(
      { description: 'Base agents: send commands through the launcher; null: true.' },
      'boolean',
    ),
  },
  { additionalProperties: false },
);

export type PutBody = Static<typeof PutBody>;

/**
 * @param at where the body stands in the request, for what is wrong with it
 * @throws SluiceError invalid_request with the field at fault
 */
export function toPatch({ tls, ...rest }: PutBody, at = ''): HostPatch {
  if (rest.address !== undefined) checkAddress(rest.address, `${at}address`);
  return { ...rest, ...(tls !== undefined && { tls: parseTls(tls, `${at}tls`) }) };
}

/** Only `name:port`, `IPv4:port` and `[IPv6]:port`: nothing that a URL parser could read as something else. */
function checkAddress(address: string, field: string): void {
  const parts = /^(?:\[([0-9A-Fa-f:.]+)\]|([A-Za-z0-9](?:[A-Za-z0-9._-]*[A-Za-z0-9])?)):(\d{1,5})$/.exec(
    address,
  );
  const [, ipv6, name, port] = parts ?? [];
  const hostIsValid = ipv6 === undefined ? isHostName(name ?? '') : isIP(ipv6) === 6;
  if (hostIsValid && Number(port) >= 1 && Number(port) <= 65_535) return;
  throw new SluiceError('invalid_request', `${field} must be host:port, with IPv6 in brackets`, {
    fields: { field },
  });
}

/** A name that ends in digits is an IPv4 address or nothing: `127.1` and `0x7f.1` have more than one reading. */
function isHostName(name: string): boolean {
  const last = name.split('.').at(-1) ?? '';
  return name !== '' && (isIP(name) === 4 || !/^(\d+|0[xX][0-9A-Fa-f]*)$/.test(last));
}
