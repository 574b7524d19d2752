/** Address patterns in the YAML file: which unregistered addresses may be used, with their token, limits and `tls`. */
import Type from 'typebox';
import { addressPattern, secretText } from './formats.ts';

const strict = { additionalProperties: false };
const count = { minimum: 1, maximum: 100_000 };

const HostTls = Type.Refine(
  Type.Object(
    {
      fingerprint: Type.Optional(Type.String({ pattern: '^[0-9a-f]{64}$' })),
      ca: Type.Optional(Type.String({ minLength: 1 })),
      pin: Type.Optional(Type.Literal('first_use')),
      insecure: Type.Optional(Type.Literal(true)),
      dangerously_off: Type.Optional(Type.Literal(true)),
    },
    strict,
  ),
  (tls) => Object.keys(tls).length === 1,
  () => 'must have exactly one of fingerprint, ca, pin, insecure, dangerously_off',
);

const HostRate = Type.Object(
  {
    limit: Type.Integer({ minimum: 1, maximum: 1_000_000 }),
    period_seconds: Type.Integer({ minimum: 1, maximum: 86_400 }),
    burst: Type.Optional(Type.Integer({ minimum: 1, maximum: 1_000_000 })),
  },
  strict,
);

export const AddressPattern = Type.Refine(
  Type.Object(
    {
      match: addressPattern({ description: 'Network and port, such as `192.168.120.0/24:18443`' }),
      token: Type.Optional(secretText({ description: "The agents' token", secret: true })),
      token_file: Type.Optional(Type.String({ minLength: 1, description: 'A file with the token' })),
      tls: Type.Optional(HostTls),
      max_requests: Type.Optional(Type.Integer(count)),
      max_jobs: Type.Optional(Type.Integer(count)),
      rate: Type.Optional(HostRate),
      allowed_users: Type.Optional(Type.Array(Type.Union([Type.String(), Type.Null()]))),
      launcher: Type.Optional(Type.Boolean()),
      labels: Type.Optional(Type.Record(Type.String(), Type.String())),
    },
    strict,
  ),
  (pattern) => (pattern.token === undefined) !== (pattern.token_file === undefined),
  () => 'must have either token or token_file',
);
