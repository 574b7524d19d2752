/**
 * What a batch waits for, in sentences for people who did not write any of this. Pure: `waiting-for.ts` decides what it
 * is. Each says what holds the batch back, and what lifts it.
 */
import { type BatchLimit, isBatchOver } from '../batch.ts';
import { counted, duration, joined, when } from '../words.ts';
import type { BatchStanding, BatchWaitingFor } from './waiting-for.ts';

type Words = (standing: BatchStanding) => string;

export function batchInWords(what: BatchWaitingFor, standing: BatchStanding): string {
  return WORDS[what](standing);
}

const WORDS: Record<BatchWaitingFor, Words> = {
  replaced_batch: replaced,
  resume: (standing) => joined(paused(standing), 'It goes on when it is resumed.', underWay(standing)),
  wave_pause: ({ batch, now }) =>
    `Wave ${batch.wave} is done: the next one begins ${when(batch.next_wave_at, now)}.`,
  wave: (standing) =>
    joined(
      `All jobs of wave ${standing.batch.wave} are made: the next wave begins when none of them is queued, starting, running or being canceled.`,
      missing(standing),
    ),
  max_parallel: (standing) =>
    joined(
      `${standing.in_use} of ${counted(standing.batch.max_parallel, 'place')} (max_parallel) are taken: the next job comes when one of them is over.`,
      missing(standing),
    ),
  next_jobs: ({ batch }) => `Its next jobs are being made; ${batch.total - batch.made} are left.`,
  hosts: (standing) => joined('All of its jobs wait for their hosts.', missing(standing)),
  end: (standing) => joined(ending(standing), missing(standing)),
  worker: ({ due_at, now }) =>
    `Nobody has gone on with it, which was due ${when(due_at, now)}: is a worker running, and does it reach Redis?`,
  nothing: ({ batch }) => {
    const limit = batch.stopped_because === null ? '' : `: ${batch.stopped_because} was crossed`;
    return `It is over: ${batch.state}${limit}.`;
  },
};

function replaced({ waits_for, waits_for_state: state }: BatchStanding): string {
  if (state === null || !isBatchOver(state)) {
    return `It replaces ${waits_for}, and begins once nothing of that one can be at work (unique_key).`;
  }
  return `It replaces ${waits_for}, which is ${state}, but jobs of that one, or of one before it, may be at work: they are lost, or were stopped where nobody can prove that they are gone. It begins once they are proven over, at the latest when their records are removed, 7 days after their end (unique_key).`;
}

function paused(standing: BatchStanding): string {
  const { batch, state_since, paused_by, now } = standing;
  const since = `since ${when(state_since, now)}`;
  if (batch.stopped_because !== null)
    return `${crossed(batch.stopped_because, standing)}; it is paused ${since}.`;
  if (batch.awaits_wave) return `Wave ${batch.wave} is done, and it is paused before the next one, ${since}.`;
  return `It is paused ${since}${paused_by === null ? '' : `, by ${paused_by}`}.`;
}

function ending(standing: BatchStanding): string {
  const { batch } = standing;
  switch (batch.state) {
    case 'stopping':
      return joined(
        batch.stopped_because !== null && `${crossed(batch.stopped_because, standing)}.`,
        'Nothing new is started; it is over when the jobs that were started are.',
      );
    case 'canceling':
      return 'It is being canceled, and over when each of its jobs is proven to be gone.';
    default:
      return 'All of its jobs are made: it is over when they are.';
  }
}

function crossed(limit: BatchLimit, { batch, failures, unreachable }: BatchStanding): string {
  return limit === 'max_failures'
    ? `${failures} ended wrong, more than max_failures allows (${batch.max_failures})`
    : `${unreachable} did not answer, more than max_unreachable allows (${batch.max_unreachable})`;
}

/** What of it goes on all the same. */
function underWay({ hosts }: BatchStanding): string | false {
  const running =
    hosts.starting.length + hosts.running.length + hosts.unreachable.length + hosts.canceling.length;
  return (
    running > 0 &&
    `${counted(running, 'job')} that ${running === 1 ? 'was' : 'were'} started ${running === 1 ? 'goes' : 'go'} on.`
  );
}

/** Where something is out of the ordinary: hosts that do not answer, or take nothing. */
function missing({ batch, hosts }: BatchStanding): string | false {
  const groups = [
    hosts.down.length > 0 && `${hosts.down.length} on hosts that are down`,
    hosts.misconfigured.length > 0 && `${hosts.misconfigured.length} on hosts that are set up wrongly`,
    hosts.draining.length > 0 && `${hosts.draining.length} on hosts that are drained`,
    hosts.unreachable.length > 0 && `${hosts.unreachable.length} on hosts that have stopped answering`,
  ].filter((group) => group !== false);
  if (groups.length === 0) return false;
  const deadline = duration(batch.job.start_deadline_seconds * 1_000);
  const expire = hosts.down.length + hosts.misconfigured.length + hosts.draining.length > 0;
  return `Of its jobs, ${groups.join(', ')}${expire ? `: those not started within ${deadline} expire` : ''}.`;
}
