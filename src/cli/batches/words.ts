/** A batch in words: one line for people, and the exit code that stands for its end. */
import type { BatchCounts, Counted } from '../../job/batch.ts';
import type { OutcomeKind } from '../../job/outcome.ts';
import type { BatchOutput, BatchView } from '../../protocol/batch-view.ts';

/** What `sluice run` ends with; 1 is the command line's own failure, 130 Ctrl-C. */
export const EXIT_CODES = { succeeded: 0, failed: 2, stopped: 3, unreachable: 4, canceled: 5 } as const;

export function exitCodeOfBatch({ state, counts }: BatchView): number {
  if (state === 'succeeded' || state === 'stopped' || state === 'canceled') return EXIT_CODES[state];
  const endedWrong = counts.failed + counts.timed_out + counts.canceled > 0;
  // Nothing is known to have gone wrong where hosts could not be asked.
  return endedWrong ? EXIT_CODES.failed : EXIT_CODES.unreachable;
}

/** Ends first, the bad ones right after the good ones. */
const ORDER: readonly Counted[] = [
  'succeeded',
  'failed',
  'timed_out',
  'lost',
  'expired',
  'canceled',
  'canceling',
  'unreachable',
  'running',
  'queued',
  'unstarted',
];

/** Ends that are as good as the state of the same name. */
const SAID_BY_STATE: readonly string[] = ['timeout', 'canceled', 'expired'] satisfies OutcomeKind[];

/** `batch_01… running, wave 2: 110 succeeded, 2 failed, 8 running` */
export function sentenceForBatch(batch: BatchView): string {
  return `${batch.id} ${headingOf(batch)}: ${countsInWords(batch.counts)}`;
}

/** `stopped by max_failures`, `running, wave 2` */
export function headingOf({ state, stopped_because, waves, wave, next_wave_at }: BatchView): string {
  const because = stopped_because === null ? '' : ` by ${stopped_because}`;
  const next = next_wave_at === null ? '' : `, the next one at ${next_wave_at}`;
  return `${state}${because}${waves === null ? '' : `, wave ${wave}`}${next}`;
}

export function countsInWords(counts: BatchCounts): string {
  const present = ORDER.filter((name) => counts[name] > 0);
  return present.map((name) => `${counts[name]} ${name.replace('_', ' ')}`).join(', ');
}

/** `== web[001-118] (118): failed (3)`, `== web[119-120] (2): failed, rejected: this host has no user deploy` */
export function headingOfOutput(group: BatchOutput): string {
  return `== ${group.hosts} (${group.count}): ${group.state.replace('_', ' ')}${why(group)}`;
}

/** What its state leaves open. */
function why({ state, outcome, return_code, message }: BatchOutput): string {
  if (state === 'succeeded') return '';
  const code = return_code === null ? '' : ` (${return_code})`;
  // A gateway of an earlier version does not say it.
  if (!outcome || outcome === 'exit' || outcome === 'signal') return code;
  const kind = SAID_BY_STATE.includes(outcome) ? '' : `, ${outcome.replace('_', ' ')}`;
  return `${kind}${code}${message === null ? '' : `: ${message.replace(/\s+/g, ' ')}`}`;
}

/** How many of its hosts are through. */
export function overCount({ total, counts }: BatchView): number {
  return total - counts.unstarted - counts.queued - counts.running - counts.unreachable - counts.canceling;
}
