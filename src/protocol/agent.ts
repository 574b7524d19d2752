/**
 * The messages that gateway and agents exchange, as TypeBox schemas and their types.
 *
 * Both programs validate with these schemas: the agent its requests, the gateway the replies. A Base agent's
 * reply carries a subset of the fields, so everything beyond Base is optional here; what a Full agent must
 * send is checked by the contract suite. Unknown fields in replies are ignored, because old gateways must
 * survive new agents; unknown fields in requests are the agent's to refuse.
 */
import Type, { type Static } from 'typebox';

/** The version of the protocol that the shipped agent speaks. */
export const PROTOCOL = 2;

/** What a Full agent can be asked for. An agent may list words that are not here; they are ignored. */
export const CAPABILITIES = [
  'idempotent_run',
  'batch_status',
  'status_wait',
  'logs',
  'signals',
  'timeout',
  'workdir',
  'shell',
  'tmux',
  'leftovers',
  'secret_env',
] as const;
export type Capability = (typeof CAPABILITIES)[number];

/** A launch token, and the only form of job id that reaches a path or a process list on a host. */
export const LAUNCH_TOKEN = /^[A-Za-z0-9_-]{1,64}$/;
/** A unix user name; agents refuse anything else before they look it up. */
export const USER_NAME = /^[A-Za-z_][A-Za-z0-9_.-]{0,31}\$?$/;
/** The name of an environment variable that a job may set. */
export const ENV_NAME = /^[A-Za-z_][A-Za-z0-9_]*$/;

/** Closed on purpose: a pattern alone says nothing about the names that do not match it. */
const Environment = Type.Record(Type.String({ pattern: ENV_NAME.source }), Type.String(), {
  additionalProperties: false,
});

/** `POST /run`: Base fields first, then what later Base generations take, then Full's. */
export const RunRequest = Type.Object(
  {
    job_type: Type.Optional(Type.Literal('shell')),
    command: Type.String({ minLength: 1, maxLength: 65536 }),
    run_as_user: Type.Optional(Type.Union([Type.String({ pattern: USER_NAME.source }), Type.Null()])),
    sync: Type.Optional(Type.Boolean()),
    use_tmux: Type.Optional(Type.Boolean()),
    env: Type.Optional(Environment),
    timeout_seconds: Type.Optional(Type.Union([Type.Integer({ minimum: 1 }), Type.Null()])),
    job_id: Type.Optional(Type.String({ pattern: LAUNCH_TOKEN.source })),
    skip_if_running: Type.Optional(Type.Boolean()),
    dedup_key: Type.Optional(Type.String()),
    fire_and_forget: Type.Optional(Type.Boolean()),
    expect_store_id: Type.Optional(Type.String()),
    workdir: Type.Optional(Type.Union([Type.String(), Type.Null()])),
    shell: Type.Optional(Type.Union([Type.String(), Type.Null()])),
    secret_env: Type.Optional(Environment),
    leftovers: Type.Optional(Type.Union([Type.Literal('keep'), Type.Literal('kill')])),
    /** Hold the reply until the command ends, at most so many seconds. */
    wait_seconds: Type.Optional(Type.Number({ minimum: 0, maximum: 60 })),
  },
  { additionalProperties: false },
);
export type RunRequest = Static<typeof RunRequest>;

/** `POST /status` (Full): any number of jobs in one request, held until one changes after `cursor`. */
export const StatusRequest = Type.Object(
  {
    job_ids: Type.Array(Type.String({ pattern: LAUNCH_TOKEN.source }), { maxItems: 10000 }),
    cursor: Type.Optional(Type.String()),
    wait_seconds: Type.Optional(Type.Number({ minimum: 0, maximum: 60 })),
  },
  { additionalProperties: false },
);
export type StatusRequest = Static<typeof StatusRequest>;

/** `POST /cancel/{id}`: Base sends no body. */
export const CancelRequest = Type.Object(
  {
    signal: Type.Optional(Type.String({ pattern: '^[A-Z0-9+-]{1,16}$' })),
    /** Seconds between the signal and SIGKILL. */
    grace_seconds: Type.Optional(Type.Number({ minimum: 0, maximum: 600 })),
    /** The store in which the job was started: another one has no right to say that it never was. */
    expect_store_id: Type.Optional(Type.String()),
  },
  { additionalProperties: false },
);
export type CancelRequest = Static<typeof CancelRequest>;

/** `POST /ping`. A reply without `capabilities` is a Base agent's. */
export const PingReply = Type.Object({
  status: Type.String(),
  time: Type.Optional(Type.String()),
  protocol: Type.Optional(Type.Integer()),
  version: Type.Optional(Type.String()),
  boot_id: Type.Optional(Type.String()),
  store_id: Type.Optional(Type.String()),
  users: Type.Optional(Type.Array(Type.String())),
  capabilities: Type.Optional(Type.Array(Type.String())),
});
export type PingReply = Static<typeof PingReply>;

const nullable = <T extends Type.TSchema>(schema: T) => Type.Optional(Type.Union([schema, Type.Null()]));

/** A job in a reply of an agent. Base sends the first five fields, some of them, or (unknown job) only two. */
export const AgentJob = Type.Object({
  job_id: Type.String(),
  /** Base's words, so that old callers understand; may be empty or end in a newline. */
  status: Type.String(),
  return_code: nullable(Type.Integer()),
  stdout: nullable(Type.String()),
  stderr: nullable(Type.String()),
  /** Full: `base64` where the stream's bytes are not UTF-8. */
  stdout_encoding: nullable(Type.Literal('base64')),
  stderr_encoding: nullable(Type.Literal('base64')),
  /** Full, from `/run`: this token was started before; nothing was started now. */
  existing: Type.Optional(Type.Boolean()),
  /** Full: `accepted`, `running`, `ended`, `lost`, `unknown`. */
  state: nullable(Type.String()),
  /** Full: `exit`, `signal`, `timeout`, `canceled`, `spawn_error`, `reboot`, `exit_unknown`, `never_ran`. */
  reason: nullable(Type.String()),
  signal: nullable(Type.String()),
  message: nullable(Type.String()),
  started_at: nullable(Type.String()),
  ended_at: nullable(Type.String()),
  stdout_bytes: nullable(Type.Integer()),
  stderr_bytes: nullable(Type.Integer()),
  stdout_sha256: nullable(Type.String()),
  stderr_sha256: nullable(Type.String()),
  /** How the end of the process tree was checked: `cgroup`, `group+marker`, `none`. */
  proof: nullable(Type.String()),
  remaining_pids: nullable(Type.Array(Type.Integer())),
  leftover_processes: nullable(Type.Integer()),
  attach_command: nullable(Type.String()),
  /** Full: not all of its output is there any more. */
  truncated: Type.Optional(Type.Boolean()),
});
export type AgentJob = Static<typeof AgentJob>;

export const StatusReply = Type.Object({ jobs: Type.Array(AgentJob), cursor: Type.String() });
export type StatusReply = Static<typeof StatusReply>;

/** `GET /logs/{id}?stream&offset&limit`. `data` is base64 where `encoding` says so. */
export const LogsReply = Type.Object({
  data: Type.String(),
  encoding: nullable(Type.Literal('base64')),
  /** Where `data` begins, where that is later than asked for: the bytes before it are gone. */
  offset: Type.Optional(Type.Integer({ minimum: 0 })),
  /** The offset to ask for next, in bytes of the stream. */
  next: Type.Integer(),
  eof: Type.Boolean(),
});
export type LogsReply = Static<typeof LogsReply>;

/** What an agent answers when it refuses. */
export const ErrorReply = Type.Object({ error: Type.String(), message: Type.Optional(Type.String()) });
export type ErrorReply = Static<typeof ErrorReply>;
