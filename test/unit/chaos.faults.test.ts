/** The schedule of the rig of faults: what a seed stands for. */
import { describe, expect, it } from 'vitest';
import { type Fault, schedule, type TargetGroup } from '../chaos/faults.ts';
import { createRandom } from '../helpers/random.ts';

const targets = new Map<TargetGroup, string[]>([
  ['worker', ['worker0', 'worker1']],
  ['redis', ['redis']],
  ['link to agent', ['a', 'b', 'c']],
  ['disk', []],
]);
const drawn = (seed: number) =>
  schedule(createRandom(seed, 'faults'), { targets, forMs: 600_000, everyMs: 1_000 });

describe('schedule', () => {
  it('is the same for the same seed, and another one for another', () => {
    expect(drawn(1)).toEqual(drawn(1));
    expect(drawn(2)).not.toEqual(drawn(1));
  });

  it('strikes nothing while it still has the fault before, and nothing that there is not', () => {
    const until = new Map<string, number>();
    for (const { target, atMs, lastsMs, group } of drawn(3)) {
      expect(targets.get(group)).toContain(target);
      expect(atMs).toBeGreaterThanOrEqual(until.get(target) ?? 0);
      until.set(target, atMs + lastsMs);
    }
  });

  it('comes to every kind of fault, about as often as is asked for', () => {
    const faults = drawn(4);
    expect(faults.length).toBeGreaterThan(300);
    const kinds = new Set(faults.map(({ group, kind }: Fault) => `${group}: ${kind}`));
    expect([...kinds]).toEqual(
      expect.arrayContaining(['worker: kill', 'redis: freeze', 'link to agent: reply cut']),
    );
  });
});
