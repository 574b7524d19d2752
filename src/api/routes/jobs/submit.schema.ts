/** The body of `POST /v1/jobs`. Lengths here are in characters; those in bytes are checked beside it. */
import Type, { type Static } from 'typebox';
import { MODES, ON_DUPLICATE, type OnDuplicate, RETRY_CAUSES, type RetryCause } from '../../../job/record.ts';
import {
  LONGEST_BACKOFF_SECONDS,
  MAX_ATTEMPTS,
  USUAL_BACKOFF_SECONDS,
  USUAL_CAUSES,
} from '../../../job/retry.ts';
import { ENV_NAME, USER_NAME } from '../../../protocol/agent.ts';

const YEAR_SECONDS = 31_536_000;

/** In bytes of UTF-8. */
export const COMMAND_BYTES = 65_536;
export const ENV_BYTES = 32_768;

const Environment = (description: string) =>
  Type.Unsafe<Record<string, string>>({
    type: 'object',
    propertyNames: { pattern: ENV_NAME.source, maxLength: 255 },
    additionalProperties: { type: 'string' },
    description,
  });

const optionalText = (description: string, more: object = {}) =>
  Type.Optional(Type.Unsafe<string | null>({ type: ['string', 'null'], minLength: 1, description, ...more }));

const seconds = (value: number, description: string) =>
  Type.Integer({ minimum: 1, maximum: YEAR_SECONDS, default: value, description });

export const Labels = Type.Unsafe<Record<string, string>>({
  type: 'object',
  maxProperties: 16,
  propertyNames: { pattern: '^[A-Za-z0-9._/-]{1,63}$' },
  additionalProperties: { type: 'string', maxLength: 255 },
  description: 'For filters and people: up to 16, names of letters, digits and `._/-`.',
});

const Retry = Type.Unsafe<RetryBody | null>({
  type: ['object', 'null'],
  properties: {
    max_attempts: {
      type: 'integer',
      minimum: 1,
      maximum: MAX_ATTEMPTS,
      default: 1,
      description: 'How often the command is started at most, the first time included.',
    },
    backoff_seconds: {
      type: 'integer',
      minimum: 0,
      maximum: LONGEST_BACKOFF_SECONDS,
      default: USUAL_BACKOFF_SECONDS,
      description:
        'The pause before the second attempt, from the end of the first; it doubles with every further one, up to ' +
        `${LONGEST_BACKOFF_SECONDS} s.`,
    },
    on: {
      type: 'array',
      items: { type: 'string', enum: [...RETRY_CAUSES] },
      minItems: 1,
      uniqueItems: true,
      default: [...USUAL_CAUSES],
      description:
        'The ends after which it is run again: `exit` (a code other than 0), `signal`, `timeout`, `spawn_error`, ' +
        '`reboot` (of the host, under it).',
    },
  },
  additionalProperties: false,
  description:
    'Run the command again, as a new attempt of the same job, where it ended badly. Off by default (null, or one ' +
    'attempt). Never after a cancel, never where it may still be at work, and never of a `lost` job.',
});

interface RetryBody {
  max_attempts: number;
  backoff_seconds: number;
  on: RetryCause[];
}

export const SubmitBody = Type.Object(
  {
    target_server: Type.String({
      minLength: 1,
      maxLength: 260,
      description: "A registered host's name, or `host:port`.",
    }),
    command: Type.String({
      minLength: 1,
      maxLength: COMMAND_BYTES,
      description: 'A shell command line, up to 64 KiB of UTF-8.',
    }),
    mode: Type.Unsafe<(typeof MODES)[number]>({
      type: 'string',
      enum: [...MODES],
      default: 'async',
      description:
        '`sync`: short, the finished job carries its output; `async`: a detached process; `tmux`: a detached ' +
        'tmux session that a person on the host can attach to.',
    }),
    job_user: optionalText("The unix user to run as; null: the agent's own (root, by custom).", {
      pattern: USER_NAME.source,
    }),
    env: Type.Optional(Environment("Added to the command's environment; up to 32 KiB of UTF-8.")),
    secret_env: Type.Optional(
      Environment('The same, only to agents that keep it out of `ps` and of their own files; up to 32 KiB.'),
    ),
    shell: optionalText('The shell to run the command line with, where the agent supports it.', {
      maxLength: 4_096,
    }),
    workdir: optionalText('The working directory, where the agent supports it.', { maxLength: 4_096 }),
    timeout_seconds: Type.Optional(
      Type.Unsafe<number | null>({
        type: ['integer', 'null'],
        minimum: 1,
        maximum: YEAR_SECONDS,
        description: 'How long an attempt may run, in seconds from its start on the host; null: no limit.',
      }),
    ),
    start_deadline_seconds: seconds(
      604_800,
      'Not started so many seconds on: `expired`; of a further attempt, the end of the one before.',
    ),
    lost_after_seconds: seconds(86_400, 'Silent for so many seconds: `lost`.'),
    poll_interval: Type.Integer({
      minimum: 1,
      maximum: 3_600,
      default: 15,
      description: 'The longest pause between two questions to the agent about it, in seconds.',
    }),
    not_before: optionalText('Do not start before then. RFC 3339.', { format: 'date-time' }),
    priority: Type.Integer({
      minimum: 0,
      maximum: 9,
      default: 5,
      description: 'Higher first, among the jobs of the same host.',
    }),
    labels: Type.Optional(Labels),
    unique_key: optionalText(
      'At most one job with this key may be at work, of those that API keys of the same name made. A job holds it ' +
        'from its acceptance until it is proven over.',
      { maxLength: 255 },
    ),
    // Without a default, which would become part of the body that an Idempotency-Key stands for.
    on_duplicate: Type.Optional(
      Type.Unsafe<OnDuplicate>({
        type: 'string',
        enum: [...ON_DUPLICATE],
        description:
          'Where the `unique_key` is held: `attach` (so without this field) answers with the job that holds it, whatever ' +
          'this body says, and `"attached":true`; `reject` answers 409 `unique_key_in_use`; `replace` cancels that job, and this one ' +
          'starts once it is proven over (needs `jobs:cancel`).',
      }),
    ),
    on_ambiguous_start: Type.Unsafe<'lose' | 'retry'>({
      type: 'string',
      enum: ['lose', 'retry'],
      default: 'lose',
      description: 'What to do where a start may or may not have happened and nothing can tell.',
    }),
    leftovers: Type.Unsafe<'keep' | 'kill'>({
      type: 'string',
      enum: ['keep', 'kill'],
      default: 'keep',
      description: 'What to do with processes that outlive the main one.',
    }),
    retry: Type.Optional(Retry),
    callback_url: optionalText("Told of the job's end and of its corrections (see Webhooks).", {
      format: 'uri',
      maxLength: 2_048,
    }),
  },
  { additionalProperties: false },
);
export type SubmitBody = Static<typeof SubmitBody>;

/** For the document: what they mean is parsed beside the route. */
export const SubmitHeaders = Type.Object({
  'idempotency-key': Type.Optional(
    Type.String({
      description:
        '`"<key>"`, 1 to 255 printable ASCII characters. A repetition with the same body answers with the first job.',
    }),
  ),
  prefer: Type.Optional(
    Type.String({ description: '`wait=N` holds the reply until the job is over, at most N (60) seconds.' }),
  ),
  traceparent: Type.Optional(Type.String({ description: 'W3C trace context; kept with the job.' })),
});
