/** The body of `POST /v1/batches`: that of a job without its target, and how the batch proceeds. */
import Type, { type Static } from 'typebox';
import { SHARE, type Share } from '../../../job/batch/sizes.ts';
import { ON_LIMIT } from '../../../job/batch.ts';
import { COMMAND_BYTES, SubmitBody } from '../jobs/submit.schema.ts';

/** Hosts in one batch. */
export const MOST_TARGETS = 10_000;
/** Of all of its jobs together: each has a copy of command, `env` and `secret_env`. */
export const MOST_COPIED_BYTES = 64 * 1_048_576;

const { target_server, start_deadline_seconds, unique_key, on_duplicate, callback_url, ...ofJob } =
  SubmitBody.properties;

const Names = (description: string) =>
  Type.Optional(
    Type.Array(Type.String({ minLength: 1, maxLength: 65_536 }), { maxItems: MOST_TARGETS, description }),
  );

const share = (minimum: number, description: string, more: object = {}) =>
  Type.Unsafe<Share>({ type: ['integer', 'string'], minimum, pattern: SHARE.source, description, ...more });

const limit = (description: string) =>
  Type.Optional(
    Type.Unsafe<Share | null>({
      type: ['integer', 'string', 'null'],
      minimum: 0,
      pattern: SHARE.source,
      description: `${description} A number, or a share of all hosts such as \`"5%"\`, rounded down; null: no limit.`,
    }),
  );

export const BatchBody = Type.Object(
  {
    targets: Names(
      'Names of hosts or `host:port`; several names may be folded: `web[001-120]`, `db[1,3]`. Two names of one ' +
        'address are one target.',
    ),
    selector: Type.Optional(
      Type.Unsafe<Record<string, string> | 'all'>({
        anyOf: [
          {
            type: 'object',
            minProperties: 1,
            maxProperties: 16,
            additionalProperties: { type: 'string', maxLength: 255 },
          },
          { const: 'all' },
        ],
        description:
          'Registered hosts that have all of these labels, or `"all"`; besides `targets` where both are given. Settled ' +
          'when the batch is accepted, on the hosts that the key may use.',
      }),
    ),
    exclude: Names('As `targets`: not these.'),
    max_parallel: share(
      1,
      'How many of its jobs may be under way at once: a number, or a share of all hosts such as `"10%"`, rounded up.',
      { default: 50 },
    ),
    waves: Type.Optional(
      Type.Unsafe<Share[] | null>({
        type: ['array', 'null'],
        items: { type: ['integer', 'string'], minimum: 1, pattern: SHARE.source },
        minItems: 1,
        maxItems: 100,
        description:
          'The sizes of its waves, each a number or a share of all hosts, rounded up; the last repeats. The next wave ' +
          'begins when no job of those before is queued, running or being canceled.',
      }),
    ),
    wave_pause_seconds: Type.Unsafe<number | null>({
      type: ['integer', 'null'],
      minimum: 0,
      maximum: 31_536_000,
      default: 0,
      description: 'Between two waves; null: wait for `:resume`.',
    }),
    max_failures: limit('More jobs than so many ended wrong, and nothing new is started.'),
    max_unreachable: limit('More hosts than so many do not answer, and nothing new is started.'),
    on_limit: Type.Unsafe<(typeof ON_LIMIT)[number]>({
      type: 'string',
      enum: [...ON_LIMIT],
      default: 'stop',
      description:
        'When a limit is crossed: `stop` leaves the rest unstarted, `pause` waits for `:resume`, `cancel` cancels what ' +
        'runs, too.',
    }),
    ...ofJob,
    command: Type.String({
      minLength: 1,
      maxLength: COMMAND_BYTES,
      description:
        'A shell command line, up to 64 KiB of UTF-8. Each job has a copy of it, of `env` and of `secret_env`: times ' +
        'the number of hosts they may come to 64 MiB.',
    }),
    start_deadline_seconds: Type.Integer({
      minimum: 1,
      maximum: 31_536_000,
      default: 600,
      description: 'A job of it that is not started so many seconds after it was made is `expired`.',
    }),
    unique_key: Type.Optional(
      Type.Unsafe<string | null>({
        type: ['string', 'null'],
        minLength: 1,
        maxLength: 255,
        description:
          'At most one batch with this key may be at work, of those that API keys of the same name made.',
      }),
    ),
    on_duplicate: Type.Optional(
      Type.Unsafe<'attach' | 'reject' | 'replace'>({
        type: 'string',
        enum: ['attach', 'reject', 'replace'],
        description:
          'Where the `unique_key` is held: `attach` (so without this field) answers with that batch and ' +
          '`"attached":true`; `reject` answers 409 `unique_key_in_use`; `replace` cancels it, and this one begins once ' +
          'nothing of it is at work (needs `jobs:cancel`).',
      }),
    ),
    callback_url: Type.Optional(
      Type.Unsafe<string | null>({
        type: ['string', 'null'],
        minLength: 1,
        format: 'uri',
        maxLength: 2_048,
        description: "Told of the batch's end (see Webhooks).",
      }),
    ),
  },
  { additionalProperties: false },
);
export type BatchBody = Static<typeof BatchBody>;

export const BatchQuery = Type.Object(
  {
    dry_run: Type.Boolean({ default: false, description: 'Only answers with the hosts; starts nothing.' }),
  },
  { additionalProperties: false },
);
export type BatchQuery = Static<typeof BatchQuery>;
