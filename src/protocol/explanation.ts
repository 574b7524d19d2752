/** What a job waits for, as callers see it: one word for programs, one sentence for people, and the figures behind. */
import Type, { type Static } from 'typebox';
import { CIRCUITS, causeOf, circuitOf } from '../job/circuit.ts';
import { burstOf, HOST_STATUSES } from '../job/host.ts';
import type { Job } from '../job/record.ts';
import { startBy } from '../job/start-deadline.ts';
import { isOver, STATES } from '../job/states.ts';
import {
  lostFrom,
  requestsAtOnce,
  type Standing,
  startsAtOnce,
  WAITING_FOR,
  waitingFor,
  waitingSince,
} from '../job/waiting-for.ts';
import { inWords } from '../job/waiting-words.ts';
import { timestamp } from './job-view.ts';

const count = (description: string) => Type.Integer({ description });
const countOrNull = (description: string) =>
  Type.Unsafe<number | null>({ type: ['integer', 'null'], description });
const text = (description: string) => Type.Unsafe<string | null>({ type: ['string', 'null'], description });
const time = (description: string) => text(`${description} RFC 3339, UTC.`);
const word = <const T extends readonly string[]>(words: T, description: string) =>
  Type.Unsafe<T[number]>({ type: 'string', enum: [...words], description });
const orNull = <T extends Type.TSchema>(schema: T) =>
  Type.Unsafe<Static<T> | null>({ anyOf: [schema, { type: 'null' }] });

const PositionView = Type.Object(
  {
    place: count('1: the next to start, as things stand.'),
    waiting: count('Jobs that wait for the host.'),
  },
  { description: "Its place in its host's queue, while it waits there." },
);

const LimitsView = Type.Object(
  {
    max_requests: Type.Object({
      in_use: count('Requests under way to the host.'),
      of: count('So many at once; 1 while it is not known to be up.'),
      starts_in_use: count('Starts among them.'),
      starts_of: count('So many starts at once: one request is left for questions.'),
    }),
    max_jobs: Type.Object({
      in_use: count('Its jobs that are `dispatching`, `running`, `unreachable` or `canceling`.'),
      of: countOrNull('So many at once; null: no limit.'),
    }),
    rate: orNull(
      Type.Object(
        {
          limit: count('Requests in each period.'),
          period_seconds: count('The period, in seconds.'),
          burst: count('Requests that may come at once.'),
          tokens: count('Requests that could go now.'),
          next_token_at: time('When the next one can go; null: now.'),
        },
        { description: 'The rate in force; null: no limit.' },
      ),
    ),
  },
  { description: "The host's limits, and what is used of them." },
);

const CircuitView = Type.Object(
  {
    state: word(CIRCUITS, 'As in `GET /v1/hosts/{name}`.'),
    status: word(HOST_STATUSES, 'What is known of the host.'),
    draining: Type.Boolean({ description: 'Nothing is started there until it is resumed.' }),
    failures: count('Failed requests in a row.'),
    cause: text('What is wrong.'),
    remedy: text('What to do about it.'),
    retry_at: time('Nothing is asked of it before then, but for one try.'),
    no_starts_until: time(
      'Nothing new is started there before then: its agent refused a start and asked to wait.',
    ),
    silent_since: time('Since when it has not answered.'),
  },
  { description: "The host's circuit: how failures hold requests back." },
);

export const Explanation = Type.Object(
  {
    job_id: Type.String({ description: "The job's id." }),
    host: Type.String({ description: "The host's name." }),
    state: word(STATES, 'Where the job stands.'),
    waiting_for: word(WAITING_FOR, 'The one thing that holds it back now.'),
    message: Type.String({ description: 'The same for people, with what lifts it and when.' }),
    since: time('Since when it waits for that.'),
    eligible_at: time('From when it may start; null: now, or it does not wait to.'),
    position: orNull(PositionView),
    limits: orNull(LimitsView),
    circuit: orNull(CircuitView),
    next_look_at: time("When its host's queue is looked at next, or its host asked about it."),
    start_deadline_at: time('If it has not started by then it expires, or ends as its last attempt did.'),
    lost_at_earliest: time('If its host stays silent, it is given up as lost then.'),
  },
  { description: 'Why a job is where it is.' },
);
export type Explanation = Static<typeof Explanation>;

export function explanationOf(job: Job, standing: Standing): Explanation {
  const what = waitingFor(job, standing);
  const { queue, host } = standing;
  const startsYet = job.state === 'queued' || job.state === 'dispatching';
  // What is over for good has nothing to do with its host any more.
  const concerned = !isOver(job.state) || job.state === 'lost';
  return {
    job_id: job.id,
    host: job.host,
    state: job.state,
    waiting_for: what,
    message: inWords(what, job, standing),
    since: timestamp(waitingSince(what, standing)),
    eligible_at: timestamp(queue.eligible_at),
    position:
      what !== 'replaced_job' && what !== 'batch' && (queue.place === 'later' || queue.place === 'ready')
        ? { place: queue.ahead + 1, waiting: queue.waiting }
        : null,
    limits: concerned && host ? limitsOf(host, standing) : null,
    circuit: concerned && host ? circuitView(standing) : null,
    next_look_at: timestamp(startsYet ? queue.look_at : job.next_poll_at),
    start_deadline_at: timestamp(startsYet ? startBy(job) : null),
    lost_at_earliest: timestamp(lostFrom(job, standing)),
  };
}

function limitsOf(
  host: NonNullable<Standing['host']>,
  { health, queue }: Standing,
): Static<typeof LimitsView> {
  const { rate, max_jobs } = host;
  return {
    max_requests: {
      in_use: queue.requests,
      of: requestsAtOnce(host, health),
      starts_in_use: queue.starts,
      starts_of: startsAtOnce(host, health),
    },
    max_jobs: { in_use: queue.jobs, of: max_jobs },
    rate: rate && {
      limit: rate.limit,
      period_seconds: rate.period_seconds,
      burst: burstOf(rate),
      tokens: queue.tokens ?? 0,
      next_token_at: timestamp(queue.next_token_at),
    },
  };
}

function circuitView({ health }: Standing): Static<typeof CircuitView> {
  const { status, draining, failures, remedy, retry_at, no_starts_until, silent_since } = health;
  return {
    state: circuitOf(health),
    status: status,
    draining,
    failures,
    cause: causeOf(health),
    remedy,
    retry_at: timestamp(retry_at),
    no_starts_until: timestamp(no_starts_until),
    silent_since: timestamp(silent_since),
  };
}
