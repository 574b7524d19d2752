/** What a batch waits for, as callers see it: one word for programs, one sentence for people, and the figures behind. */
import Type, { type Static } from 'typebox';
import {
  AWAITED,
  type Awaited,
  BATCH_WAITING_FOR,
  type BatchStanding,
  batchWaitingFor,
} from '../job/batch/waiting-for.ts';
import { batchInWords } from '../job/batch/waiting-words.ts';
import { BATCH_STATES, isBatchOver } from '../job/batch.ts';
import { fold } from '../job/host-names.ts';
import { oneOf, oneOfOrNull, orNull, time } from './fields.ts';
import { timestamp } from './job-view.ts';

/** Folded names are cut here, in characters. */
const MAX_NAMES = 4_096;

const count = (description: string) => Type.Integer({ description });

const LimitView = Type.Object(
  {
    counted: count('So many count for it, since the batch was last resumed after a limit.'),
    of: orNull('integer', 'More than so many cross it; null: no limit.'),
  },
  { description: 'One of its limits.' },
);

const HostsView = Type.Object(
  {
    why: oneOf(
      AWAITED,
      'Not started: the host is `down`, `misconfigured`, `draining` or `busy` with what its own limits allow, or the ' +
        'batch holds the job back; `starting`, or started and `running`, `unreachable` or `canceling`.',
    ),
    count: count('How many.'),
    hosts: Type.String({ description: `Their names, folded; cut after ${MAX_NAMES} characters.` }),
  },
  { description: 'Hosts that it waits for, for one reason.' },
);

export const BatchExplanation = Type.Object(
  {
    batch_id: Type.String({ description: "The batch's id." }),
    state: oneOf(BATCH_STATES, 'Where it stands.'),
    waiting_for: oneOf(BATCH_WAITING_FOR, 'The one thing that keeps it from going on now.'),
    message: Type.String({ description: 'The same for people, with what lifts it.' }),
    since: time('Since when it is in its state.'),
    paused_by: orNull('string', 'The API key that paused it; null: none did.'),
    stopped_because: oneOfOrNull(['max_failures', 'max_unreachable'], 'The limit that was crossed.'),
    replaces: orNull('string', 'The batch that must be over before it begins; null: none, or it has begun.'),
    wave: Type.Object({
      number: count('The present wave, from 1.'),
      made: count('Targets that have a job, of this wave and those before.'),
      of: count('Targets of this wave and those before.'),
      next_at: time('When the next one begins; null where no pause between waves is under way.'),
    }),
    max_parallel: Type.Object({
      in_use: count('Places taken: by jobs made and not over, but for those whose host does not answer yet.'),
      of: count('So many at once.'),
    }),
    max_failures: LimitView,
    max_unreachable: LimitView,
    hosts: Type.Array(HostsView, { description: 'Whom it waits for.' }),
    next_look_at: time('When it is gone on with; null: when something happens.'),
  },
  { description: 'Why a batch is where it is.' },
);
export type BatchExplanation = Static<typeof BatchExplanation>;

export function batchExplanationOf(standing: BatchStanding): BatchExplanation {
  const { batch } = standing;
  const what = batchWaitingFor(standing);
  return {
    batch_id: batch.id,
    state: batch.state,
    waiting_for: what,
    message: batchInWords(what, standing),
    since: timestamp(standing.state_since),
    paused_by: batch.state === 'paused' ? standing.paused_by : null,
    stopped_because: batch.stopped_because,
    replaces: standing.waits_for,
    wave: {
      number: batch.wave,
      made: batch.made,
      of: standing.wave_end,
      next_at: timestamp(batch.next_wave_at),
    },
    max_parallel: { in_use: standing.in_use, of: batch.max_parallel },
    max_failures: { counted: standing.failures, of: batch.max_failures },
    max_unreachable: { counted: standing.unreachable, of: batch.max_unreachable },
    hosts: isBatchOver(batch.state) ? [] : AWAITED.flatMap((why) => hostsView(why, standing.hosts[why])),
    next_look_at: timestamp(standing.due_at),
  };
}

function hostsView(why: Awaited, hosts: readonly string[]): Static<typeof HostsView>[] {
  if (hosts.length === 0) return [];
  const names = fold(hosts);
  return [
    {
      why,
      count: hosts.length,
      hosts: names.length > MAX_NAMES ? `${names.slice(0, MAX_NAMES)}...` : names,
    },
  ];
}
