/** A batch as callers see it: in replies, lists and webhooks. Never its environment. */
import Type, { type Static } from 'typebox';
import { BATCH_STATES, type Batch, COUNTED, ON_LIMIT } from '../job/batch.ts';
import { OUTCOME_KINDS } from '../job/outcome.ts';
import { MODES } from '../job/record.ts';
import { nullable, oneOf, oneOfOrNull, orNull, time } from './fields.ts';
import { timestamp } from './job-view.ts';

const MEANINGS: Record<(typeof COUNTED)[number], string> = {
  unstarted: 'Have no job yet, or one that was withdrawn before it was started.',
  queued: 'Wait for their host, or are on their way to it.',
  running: 'Run.',
  unreachable: 'Ran when their host was last heard of.',
  canceling: 'Are being canceled; on a silent host until it is back.',
  succeeded: 'Ended with return code 0.',
  failed: 'Ended in any other way of their own.',
  timed_out: 'Ran longer than they might.',
  canceled: 'Are proven to have been canceled.',
  expired: 'Were not started in time.',
  lost: 'Of these nothing could be known any more.',
};

export const BatchView = Type.Object(
  {
    id: Type.String({ description: '`batch_` and a ULID: sorts by the time of its acceptance.' }),
    state: oneOf(
      BATCH_STATES,
      '`running`, `paused`; `stopping` and `canceling` while jobs of it are at work; over: `succeeded` (all did), ' +
        '`stopped` (a limit was crossed), `canceled`, `failed`.',
    ),
    version: Type.Integer({
      description: 'Grows with every change of a count or of the state; also the `ETag`.',
    }),
    total: Type.Integer({ description: 'How many hosts it is for.' }),
    counts: Type.Object(
      Object.fromEntries(
        COUNTED.map((name) => [name, Type.Integer({ description: MEANINGS[name] })]),
      ) as Record<(typeof COUNTED)[number], ReturnType<typeof Type.Integer>>,
      { description: 'How many of its hosts stand where: they add up to `total`.' },
    ),
    wave: Type.Integer({ description: 'The present wave, from 1.' }),
    next_wave_at: time('When the next wave begins; null where no pause between waves is under way.'),
    awaits_wave: Type.Boolean({ description: 'A wave is done, and the next one waits for `:resume`.' }),
    stopped_because: oneOfOrNull(['max_failures', 'max_unreachable'], 'The limit that was crossed.'),
    command: Type.String({ description: 'The shell command line.' }),
    mode: oneOf(MODES, 'How it runs on the hosts.'),
    job_user: orNull('string', "The unix user it runs as; null: the agent's own."),
    labels: Type.Record(Type.String(), Type.String(), {
      description: 'For filters and people; its jobs have them too.',
    }),
    max_parallel: Type.Integer({ description: 'How many of its jobs may be under way at once.' }),
    waves: nullable(Type.Array(Type.Integer(), { description: 'The sizes of its waves; the last repeats.' })),
    wave_pause_seconds: orNull('integer', 'Between two waves; null: until it is resumed.'),
    max_failures: orNull('integer', 'More that ended wrong, and nothing new is started; null: no limit.'),
    max_unreachable: orNull(
      'integer',
      'More that do not answer, and nothing new is started; null: no limit.',
    ),
    on_limit: oneOf(ON_LIMIT, 'What happens when one of these limits is crossed.'),
    unique_key: orNull('string', 'At most one batch with it may be at work.'),
    attached: Type.Optional(
      Type.Boolean({
        description: 'In the answer to a submission: the batch held the `unique_key` already.',
      }),
    ),
    retry_of: orNull('string', 'The batch of which this one repeats a part.'),
    replaces: orNull('string', 'The batch that had to be over before this one began.'),
    created_by: Type.String({
      description: 'The name of the API key that it belongs to: that made it, or the batch that it repeats.',
    }),
    canceled_by: orNull('string', 'The name of the API key that canceled it.'),
    created_at: Type.String({ description: 'When it was accepted. RFC 3339, UTC.' }),
    ended_at: time('When it was over: once every job that was started is.'),
    links: Type.Object({
      self: Type.String(),
      jobs: Type.String(),
      output: Type.String(),
      explain: Type.String(),
      cancel: Type.String(),
    }),
  },
  { description: 'A batch: one command for many hosts.' },
);
export type BatchView = Static<typeof BatchView>;

/** Hosts of a batch that ended the same and wrote the same. */
export const BatchOutput = Type.Object({
  hosts: Type.String({ description: 'Folded: `web[001-118]`.' }),
  count: Type.Integer({ description: 'How many they are.' }),
  state: oneOf(COUNTED, 'Where they stand, as in `counts`.'),
  return_code: orNull('integer', 'Null while they are not over, and where there is none.'),
  outcome: oneOfOrNull(OUTCOME_KINDS, 'How their jobs ended; null while they are not over.'),
  message: orNull('string', 'What the job of one of them says of its end.'),
  stdout: orNull('string', 'The last 8 KiB; null while they are not over, and where it was not kept.'),
  stderr: orNull('string', 'The last 8 KiB; null while they are not over, and where it was not kept.'),
});
export type BatchOutput = Static<typeof BatchOutput>;

/** What a rehearsal answers. */
export const BatchTargets = Type.Object({
  targets: Type.Array(Type.String(), { description: 'The hosts that the batch would be for.' }),
  total: Type.Integer({ description: 'How many they are.' }),
});
export type BatchTargets = Static<typeof BatchTargets>;

export function batchView(batch: Batch): BatchView {
  return {
    id: batch.id,
    state: batch.state,
    version: batch.version,
    total: batch.total,
    counts: batch.counts,
    wave: batch.wave,
    next_wave_at: timestamp(batch.next_wave_at),
    awaits_wave: batch.awaits_wave,
    stopped_because: batch.stopped_because,
    command: batch.job.command,
    mode: batch.job.mode,
    job_user: batch.job.job_user,
    labels: batch.job.labels,
    max_parallel: batch.max_parallel,
    waves: batch.waves && [...batch.waves],
    wave_pause_seconds: batch.wave_pause_seconds,
    max_failures: batch.max_failures,
    max_unreachable: batch.max_unreachable,
    on_limit: batch.on_limit,
    unique_key: batch.unique_key,
    retry_of: batch.retry_of,
    replaces: batch.replaces,
    created_by: batch.created_by,
    canceled_by: batch.canceled_by,
    created_at: new Date(batch.created_at).toISOString(),
    ended_at: timestamp(batch.ended_at),
    links: links(batch.id),
  };
}

function links(id: string): BatchView['links'] {
  const self = `/v1/batches/${id}`;
  return {
    self,
    jobs: `${self}/jobs`,
    output: `${self}/output`,
    explain: `${self}/explain`,
    cancel: `${self}:cancel`,
  };
}
