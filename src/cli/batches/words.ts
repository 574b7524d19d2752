/** A batch in words: one line for people, and the exit code that stands for its end. */
import type { BatchCounts, Counted } from '../../job/batch.ts';
import type { BatchView } from '../../protocol/batch-view.ts';

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

/** How many of its hosts are through. */
export function overCount({ total, counts }: BatchView): number {
  return total - counts.unstarted - counts.queued - counts.running - counts.unreachable - counts.canceling;
}
