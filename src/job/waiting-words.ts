/**
 * What a job waits for, in sentences for people who did not write any of this. Pure: `waiting-for.ts` decides what
 * it is. Each says what holds the job back, what lifts it, and when, where that is known.
 */
import { isProvenOver } from './proven-over.ts';
import type { Job } from './record.ts';
import { isOver } from './states.ts';
import { owesCancel, type Standing, startsAtOnce, type WaitingFor } from './waiting-for.ts';
import { counted, duration, joined, when } from './words.ts';

type Words = (job: Job, standing: Standing) => string;
type InBatch = NonNullable<Standing['batch']>;

export function inWords(what: WaitingFor, job: Job, standing: Standing): string {
  return WORDS[what](job, standing);
}

const WORDS: Record<WaitingFor, Words> = {
  start_time: (job, { now, queue, last }) => {
    if ((job.not_before ?? 0) > now) return `It does not start before ${when(job.not_before, now)}.`;
    return `It is tried again ${when(queue.eligible_at, now)}: ${last.why}.`;
  },
  next_attempt: (job, { now, queue, last }) => {
    const of = job.retry ? ` of ${job.retry.max_attempts}` : '';
    return `It starts again, as attempt ${job.attempt}${of}, ${when(queue.eligible_at, now)}: ${last.why}.`;
  },
  replaced_job: (_job, { now, replaced }) =>
    replaced ? inPlaceOf(replaced, now) : 'It replaces another job, which is gone: it may start in a moment.',
  batch: ({ batch_id }, { batch }) =>
    batch ? heldBackBy(batch) : `It belongs to ${batch_id}, which is gone: it is withdrawn.`,
  turn: (job, { queue }) =>
    queue.ahead > 0 ? before(queue.ahead, job.host) : `It is the next to start on ${job.host}.`,
  rate: (job, { now, host, queue }) => {
    const { limit = 0, period_seconds = 0 } = host?.rate ?? {};
    const next = `the next one may go ${when(queue.next_token_at, now)}`;
    return joined(
      `${job.host} takes ${limit} requests in ${duration(period_seconds * 1_000)}, and they are used up: ${next}.`,
      queue.ahead > 0 && before(queue.ahead, job.host),
    );
  },
  max_requests: (job, standing) => joined(requestsInUse(job, standing), others(job, standing)),
  max_jobs: (job, standing) => {
    const { host, queue } = standing;
    const most = host?.max_jobs ?? 0;
    return joined(
      `${job.host} may have ${counted(most, 'job')} at once (max_jobs), and has ${queue.jobs}: it can start when one of them is over.`,
      others(job, standing),
    );
  },
  host_paused: ({ host }, { now, health }) => {
    const { retry_at, no_starts_until, no_starts_why } = health;
    if ((no_starts_until ?? 0) > (retry_at ?? 0) && no_starts_why !== null) {
      return joined(
        sentence(no_starts_why),
        `${host} is asked to start jobs again ${when(no_starts_until, now)}.`,
      );
    }
    return `The agent of ${host} is busy and has asked for a pause: it is asked again ${when(retry_at, now)}.`;
  },
  host_suspect: (job, standing) => `${trouble(job, standing)} The job starts when it answers.`,
  host_down: (job, standing) => `${trouble(job, standing)} The job starts when it answers.`,
  host_misconfigured: (job, standing) => `${trouble(job, standing)} The job starts when that is mended.`,
  host_draining: ({ host }) =>
    `${host} is drained: nothing starts there until it is resumed (sluice hosts resume ${host}).`,
  host_unknown: ({ host }) =>
    `No host is registered as ${host} any more: the job starts when one is, or expires at its start deadline.`,
  host_answer: (job, standing) => joined(unanswered(job, standing), trouble(job, standing)),
  end: (job, { now }) =>
    joined(
      `It is running on ${job.host}, since ${when(job.started_at, now)}.`,
      job.next_poll_at !== null && `${job.host} is asked about it ${when(job.next_poll_at, now)}.`,
    ),
  worker: (job, { now, queue }) =>
    `Nobody has looked at the jobs of ${job.host}, which was due ${when(queue.look_at, now)}: is a worker running, and does it reach Redis?`,
  nothing: (job, { last }) => {
    if (job.state !== 'lost') return `It is over: ${job.state.replace('_', ' ')} (${last.why}).`;
    const seen = job.sighted_at === null ? '' : ', but was seen running since';
    return joined(
      `It is lost (${job.outcome?.message ?? last.why})${seen}.`,
      job.next_poll_at !== null && `${job.host} is still asked about it, and its true end is taken over.`,
    );
  },
};

/** What is left of the job that holds the unique key. */
function inPlaceOf(other: Job, now: number): string {
  const { id, host, state } = other;
  const then = `this one starts once nothing of it can be at work (unique_key)`;
  if (isProvenOver(other)) return `It replaces ${id}, which is over: it may start in a moment.`;
  if (state === 'lost') {
    const owed = owesCancel(other) ? `its cancel is owed to ${host}` : `it may still run on ${host}`;
    return `It replaces ${id}, which is lost: ${owed}, and ${then}.`;
  }
  if (isOver(state)) {
    return `It replaces ${id}, which was stopped by an agent that cannot prove that it is gone: this one cannot start before that record is removed, 7 days after its end (unique_key).`;
  }
  const asked = other.cancel_requested_at;
  const since = asked === null ? '' : ` (since ${when(asked, now)})`;
  return `It replaces ${id}, which is ${state} on ${host}${since}: ${then}.`;
}

/** Why its batch has it wait. */
function heldBackBy({ id, state, stopped_because, awaits_wave, max_parallel }: InBatch): string {
  switch (state) {
    case 'running':
      return `Its batch ${id} has ${max_parallel} jobs on their hosts (max_parallel): it starts when one of them is over.`;
    case 'paused': {
      const limit = stopped_because === null ? '' : ` since ${stopped_because} was crossed`;
      return `Its batch ${id} is paused${awaits_wave ? ' between two waves' : limit}: it starts once that is resumed.`;
    }
    default:
      return `Its batch ${id} is ${state}: it is withdrawn in a moment.`;
  }
}

function unanswered(job: Job, { now, queue }: Standing): string {
  const { host } = job;
  const again = (at: number | null) => (at === null ? '' : ` ${host} is asked again ${when(at, now)}.`);
  switch (job.state) {
    case 'queued':
      return `A worker has it in hand, and asks ${host} to start it.`;
    case 'dispatching':
      return `${host} was asked to start it ${when(job.dispatched_at, now)} and has not said whether it did.${again(queue.eligible_at)}`;
    case 'unreachable':
      return `${host} has not answered since ${when(job.unreachable_since, now)}; the job may well be running.${again(job.next_poll_at)}`;
    default:
      break;
  }
  const whose = owesCancel(job) ? 'It is lost, but its' : 'Its';
  if (job.cancel_delivered_at === null) return `${whose} cancel has not reached ${host} yet.`;
  return `Its cancel has reached ${host}, which has not said yet that everything is gone.${again(job.next_poll_at)}`;
}

/** What is wrong with its host; empty if nothing is. */
function trouble({ host }: Job, { now, health }: Standing): string {
  const { status, cause, remedy, failures, silent_since, retry_at } = health;
  const why = cause === null ? '' : `: ${cause}`;
  const again = retry_at !== null && retry_at > now ? `; it is tried again ${when(retry_at, now)}` : '';
  switch (status) {
    case 'suspect':
      return `${host} has not answered ${failures > 1 ? `${failures} times in a row` : 'once'}${why}${again}.`;
    case 'down':
      return `${host} is down since ${when(silent_since, now)}${why}${again}.`;
    case 'misconfigured':
      return joined(sentence(`${host} is set up wrongly${why}`), remedy !== null && sentence(remedy));
    default:
      return '';
  }
}

function requestsInUse({ host: name }: Job, { host, health, queue }: Standing): string {
  if (!host || health.status !== 'up') {
    return `${name} is not known to be up, so it gets one request at a time, and one is under way.`;
  }
  const { max_requests } = host;
  const all = `${name} takes ${counted(max_requests, 'request')} at once (max_requests)`;
  if (queue.requests >= max_requests) return `${all}, and all of them are in use.`;
  return `${all}, ${startsAtOnce(host, health)} of them for starts, and those are in use.`;
}

function others({ host }: Job, { queue }: Standing): string | false {
  return queue.ahead > 0 && before(queue.ahead, host);
}

function before(jobs: number, host: string): string {
  return `${counted(jobs, 'job')} of ${host} ${jobs === 1 ? 'is' : 'are'} before it.`;
}

function sentence(text: string): string {
  return /[.!?]$/.test(text) ? text : `${text}.`;
}
