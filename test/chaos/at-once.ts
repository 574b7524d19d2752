/** The promises about what runs at the same time, held against what the commands themselves noted. */
import type { RigHost } from './hosts.ts';
import type { Ended } from './settle.ts';
import type { Breach } from './verdict.ts';

/** How many commands noted that they ran at once; one without an end counts for the moment of its start. */
export function keptCap({ name, kind, maxJobs }: RigHost, ended: Ended[]): Breach[] {
  if (maxJobs === undefined || kind === 'bare') return [];
  const moments: { at: number; step: number }[] = [];
  for (const { entry, ran } of ended) {
    const [start, end] = [ran.starts[0], ran.ends[0]?.at];
    if (entry.host !== name || start === undefined) continue;
    moments.push({ at: start, step: 1 }, { at: end ?? start, step: -1 });
  }
  moments.sort((a, b) => a.at - b.at || b.step - a.step);
  let running = 0;
  let most = 0;
  for (const { step } of moments) {
    running += step;
    most = Math.max(most, running);
  }
  if (most <= maxJobs) return [];
  return [{ promise: 'no host above its cap', what: `${name} ran ${most} at once, of ${maxJobs}` }];
}

/** Whatever replaces a job starts only once the old one is over; one without an end counts for the moment of its start. */
export function keptAlone(ended: Ended[]): Breach[] {
  const runs = ended
    .filter(({ entry }) => entry.order.truth.uniqueKey !== undefined)
    .flatMap(({ id, entry, ran }) =>
      ran.starts.map((from) => ({ id, key: entry.order.truth.uniqueKey, from, to: ran.ends[0]?.at ?? from })),
    )
    .toSorted((a, b) => a.from - b.from);
  return runs.flatMap((run, i) => {
    const before = runs.slice(0, i).find(({ key, to }) => key === run.key && to > run.from);
    if (!before) return [];
    const what = `started while ${before.id} of the same key ran`;
    return [{ promise: 'one of a unique key at a time' as const, job: run.id, what }];
  });
}
