/**
 * Every setting there is: its name in the YAML file, its environment variable, its default and what it means.
 * `docs/configuration.md` and `.env.example` are compared with this schema by a test.
 *
 * Each object refuses names that it does not know: a misspelt setting must not silently be the default.
 */
import Type, { type Static } from 'typebox';
import { DURABILITIES } from '../job/durability.ts';
import { AddressPattern } from './address-pattern.ts';
import { crashPoint, hostAndPort, network, redisUrl, secretText, text, webhookSecret } from './formats.ts';

/** What a setting carries besides its type. */
export type SettingOptions = {
  description: string;
  /** The environment variable that sets it; lists are written with commas. */
  env?: string;
  /** Never shown, not even in a mistake. */
  secret?: true;
};

const setting = <Rest extends object>(env: string, description: string, rest?: Rest) =>
  ({ env, description, ...rest }) as SettingOptions & Rest;

const strict = { additionalProperties: false };
const count = { minimum: 1, maximum: 100_000 };

export const LOG_LEVELS = ['fatal', 'error', 'warn', 'info', 'debug', 'trace', 'silent'] as const;

const Tls = Type.Object(
  {
    cert: Type.Optional(Type.String(setting('SLUICE_TLS_CERT', "The API's certificate chain, a PEM file"))),
    key: Type.Optional(Type.String(setting('SLUICE_TLS_KEY', 'Its private key, a PEM file'))),
    client_ca: Type.Optional(
      Type.String(
        setting('SLUICE_TLS_CLIENT_CA', 'Callers must show a certificate of this authority, a PEM file'),
      ),
    ),
  },
  strict,
);

const RedisTls = Type.Object(
  {
    ca: Type.Optional(
      Type.String(
        setting('SLUICE_REDIS_TLS_CA', 'Who signed the certificates of a `rediss://` address, a PEM file'),
      ),
    ),
    cert: Type.Optional(
      Type.String(setting('SLUICE_REDIS_TLS_CERT', 'The certificate to show to Redis, a PEM file')),
    ),
    key: Type.Optional(Type.String(setting('SLUICE_REDIS_TLS_KEY', 'Its private key, a PEM file'))),
  },
  strict,
);

const Webhooks = Type.Object(
  {
    allow: Type.Array(
      network(),
      setting('SLUICE_WEBHOOKS_ALLOW', 'Networks that may be called although they are forbidden by default', {
        default: [],
      }),
    ),
    deny: Type.Array(
      network(),
      setting('SLUICE_WEBHOOKS_DENY', 'Networks that are never called; wins over `allow`', { default: [] }),
    ),
    schedule_seconds: Type.Array(
      Type.Number({ minimum: 0, maximum: 604_800 }),
      setting(
        'SLUICE_WEBHOOKS_SCHEDULE_SECONDS',
        'The pauses after failed attempts, in seconds; each is jittered',
        {
          default: [5, 300, 1_800, 7_200, 18_000, 36_000, 50_400, 72_000, 86_400],
        },
      ),
    ),
    timeout_seconds: Type.Number(
      setting('SLUICE_WEBHOOKS_TIMEOUT_SECONDS', 'How long one attempt may take, in seconds', {
        minimum: 0.1,
        maximum: 300,
        default: 15,
      }),
    ),
  },
  strict,
);

export const Settings = Type.Object(
  {
    redis_url: Type.Optional(
      redisUrl(
        setting('REDIS_URL', 'Redis, or its Sentinels; without it `sluice up` starts one of its own', {
          secret: true as const,
        }),
      ),
    ),
    redis_tls: RedisTls,
    durability: Type.Enum(
      [...DURABILITIES],
      setting(
        'SLUICE_DURABILITY',
        'How often Redis must sync its file at least: `always` (before it answers a write) or `everysec`',
        { default: 'everysec' },
      ),
    ),
    ack_replicas: Type.Integer(
      setting('SLUICE_ACK_REPLICAS', 'How many replicas must have a write before it is acknowledged', {
        minimum: 0,
        maximum: 10,
        default: 0,
      }),
    ),
    url: Type.Optional(
      text(
        /^https?:\/\/./,
        'must begin with http:// or https://',
        setting('SLUICE_URL', 'Where the commands that talk to a gateway find it'),
      ),
    ),
    api_key: Type.Optional(
      secretText(
        setting(
          'SLUICE_API_KEY',
          'For a gateway: one more key, `admin`. For commands: the key to call with',
          { secret: true as const },
        ),
      ),
    ),
    callback_secret: Type.Optional(
      webhookSecret(
        setting('SLUICE_CALLBACK_SECRET', "Signs the callbacks of the key `admin`'s jobs (`whsec_...`)", {
          secret: true as const,
        }),
      ),
    ),
    secret_key_file: Type.Optional(
      Type.String(
        setting('SLUICE_SECRET_KEY_FILE', 'The key that seals secrets in Redis; needed with `REDIS_URL`'),
      ),
    ),
    data_dir: Type.Optional(
      Type.String(
        setting(
          'SLUICE_DATA',
          'Where `sluice up` keeps its data; by default `/var/lib/sluice` (root) or `~/.local/share/sluice`',
        ),
      ),
    ),
    listen: hostAndPort(
      setting('SLUICE_LISTEN', 'Address and port of the API', { default: '127.0.0.1:7788' }),
    ),
    tls: Tls,
    metrics_listen: Type.Optional(
      hostAndPort(
        setting(
          'SLUICE_METRICS_LISTEN',
          'Address and port of `/metrics`, `/livez` and `/readyz` of a worker; without it there are none',
        ),
      ),
    ),
    prefix: text(
      /^\{[A-Za-z0-9._-]{1,64}\}$/,
      'must be one word in braces, such as {sluice}',
      setting('SLUICE_PREFIX', 'In front of every key in Redis: one hash tag', { default: '{sluice}' }),
    ),
    held_hosts: Type.Integer(
      setting('SLUICE_HELD_HOSTS', 'How many hosts one worker process holds a status request at', {
        minimum: 0,
        maximum: 100_000,
        default: 500,
      }),
    ),
    dispatch_concurrency: Type.Integer(
      setting('SLUICE_DISPATCH_CONCURRENCY', 'How many hosts one worker process starts jobs on at once', {
        ...count,
        default: 1_000,
      }),
    ),
    poll_concurrency: Type.Integer(
      setting('SLUICE_POLL_CONCURRENCY', 'How many hosts one worker process asks at once', {
        ...count,
        default: 2_000,
      }),
    ),
    log_level: Type.Enum(
      [...LOG_LEVELS],
      setting('SLUICE_LOG_LEVEL', `How much is logged: ${LOG_LEVELS.join(', ')}`, { default: 'info' }),
    ),
    dangerously_crash_at: Type.Optional(
      crashPoint(
        setting(
          'SLUICE_CRASH_AT',
          'For tests only: kills the own process at a step, see [crash-points.md](crash-points.md)',
        ),
      ),
    ),
    webhooks: Webhooks,
    address_patterns: Type.Array(AddressPattern, {
      description: 'Unregistered addresses that may be used, with their token and limits; the file only',
      default: [],
    }),
  },
  strict,
);
export type Settings = Static<typeof Settings>;
