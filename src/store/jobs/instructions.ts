/** What a move's script is told to do, worked out beforehand: the script decides only what depends on what it finds. */
import { randomUUID } from 'node:crypto';
import type { Change } from '../../job/move.ts';
import { isProvenOver } from '../../job/proven-over.ts';
import { type Job, launchToken } from '../../job/record.ts';
import { startBy } from '../../job/start-deadline.ts';
import { isOver, type State } from '../../job/states.ts';
import { placeOf } from '../mailbox/places.ts';
import { encodeProgress } from './codec.ts';
import { glancedAt } from './glance.ts';
import { tailsPrefix } from './read.ts';

/** States that count against a host's `max_jobs`: a job's place there comes back by its state and nothing else. */
const ACTIVE = new Set<State>(['dispatching', 'running', 'unreachable', 'canceling']);
/** States in which a job may be in its host's mailbox or ready set: a start that is unsettled is put back there. */
const PLACED = new Set<State>(['queued', 'dispatching']);
/** States in which a job may be in its host's followed set. */
const FOLLOWED = new Set<State>(['running', 'unreachable', 'canceling', 'lost']);

/** What is not so is left out: it would be written, sent and read with every move. */
export function instructions(job: Job, from: readonly State[], to: State, change: Change, channel: string) {
  const { why, eligible_at, tails, output, next_poll_at, type, untold, withdrawn, ...progress } = change;
  const token = launchToken({ id: job.id, attempt: change.attempt ?? job.attempt });
  const { set, del } = encodeProgress(progress, token);
  if (next_poll_at != null) set.push(...glancedAt(job));
  return {
    id: job.id,
    host: job.host,
    place: placeOf(job),
    was_placed: from.some((state) => PLACED.has(state)) || undefined,
    active: ACTIVE.has(to) || undefined,
    was_active: from.some((state) => ACTIVE.has(state)) || undefined,
    was_followed: from.some((state) => FOLLOWED.has(state)) || undefined,
    owner: job.created_by,
    attempt: job.attempt,
    from,
    to,
    why,
    type: type ?? `job.${to}`,
    untold: untold || undefined,
    move: randomUUID().slice(0, 8),
    set,
    del: del.length > 0 ? del : undefined,
    eligible_at: to === 'queued' ? (eligible_at ?? 0) : undefined,
    deadline: to === 'queued' ? (startBy({ ...job, ...progress }) ?? undefined) : undefined,
    next_poll_at: next_poll_at ?? undefined,
    over: isOver(to) || undefined,
    proven_over:
      isProvenOver({
        state: to,
        outcome: change.outcome ?? job.outcome,
        attempts: change.attempts ?? job.attempts,
      }) || undefined,
    callback: job.callback_url !== null || undefined,
    tails: tails === undefined ? undefined : tailsPrefix(job, to),
    output: output === undefined ? undefined : { truncated: output.truncated ? 1 : 0 },
    channel,
  };
}

/** @param first the number of the first of its batch's keys */
export function inBatch(job: Job, to: State, change: Change, first: number) {
  return {
    id: job.batch_id,
    index: job.batch_index,
    keys: first,
    standing: change.withdrawn ? 'withdrawn' : to,
    starts: to === 'dispatching',
    is_first: job.attempts.length === 0,
  };
}
