/** What is read off the agents' counters and the processes afterwards. */
import { readFileSync } from 'node:fs';
import type { HostCounters, SimulatedFleet, Start } from '../test/helpers/simulated-agents.ts';
import { until } from '../test/helpers/until.ts';

/** Kernel ticks of 10 ms, as Linux counts them everywhere. */
const TICK_MS = 10;

/** CPU time of a process so far, in ms. */
export function cpuMs(pid: number): number {
  const fields = readFileSync(`/proc/${pid}/stat`, 'utf8').split(') ')[1]!.split(' ');
  return (Number(fields[11]) + Number(fields[12])) * TICK_MS;
}

/** Counts CPU from now on: `const used = cpuOf({ redis: pid })` … `used().redis`. */
export function cpuOf<Name extends string>(pids: Record<Name, number[]>): () => Record<Name, number> {
  const total = (list: number[]) => list.reduce((sum, pid) => sum + cpuMs(pid), 0);
  const names = Object.keys(pids) as Name[];
  const before = names.map((name) => total(pids[name]));
  return () =>
    Object.fromEntries(names.map((name, i) => [name, total(pids[name]) - before[i]!])) as Record<
      Name,
      number
    >;
}

/** Waits until these hosts have executed so many jobs each. @returns all hosts' counters then */
export async function untilStarted(
  fleet: SimulatedFleet,
  hosts: readonly number[],
  jobsEach: number,
  timeoutMs: number,
): Promise<HostCounters[]> {
  let seen: HostCounters[] = [];
  const isDone = async () => {
    seen = await fleet.counters();
    return hosts.every((i) => seen[i]!.starts >= jobsEach);
  };
  const what = `${jobsEach} jobs on each of ${hosts.length} hosts`;
  // Reading ten thousand hosts' counters costs what is measured: the times in them say when it was over.
  const everyMs = Math.max(200, fleet.hosts.length / 5);
  await until(isDone, { timeoutMs, everyMs, what }).catch((error: unknown) => {
    const short = hosts.filter((i) => seen[i]!.starts < jobsEach);
    console.error(`${short.length} hosts are not done, such as`, fleet.hosts[short[0]!], seen[short[0]!]);
    throw error;
  });
  return seen;
}

/** Starts/s in the best `windowMs`, and on average from the first to the last. */
export function rates(starts: readonly Start[], windowMs: number): { best: number; mean: number } {
  const times = starts.map(({ at }) => at).sort((a, b) => a - b);
  let most = 0;
  let from = 0;
  for (const [i, at] of times.entries()) {
    while (times[from]! <= at - windowMs) from++;
    most = Math.max(most, i - from + 1);
  }
  const seconds = (times.at(-1)! - times[0]!) / 1_000;
  // A run that is shorter than the window has one rate.
  return { best: (most * 1_000) / Math.min(windowMs, seconds * 1_000), mean: times.length / seconds };
}

export function shuffled<T>(items: readonly T[]): T[] {
  const all = [...items];
  for (let i = all.length - 1; i > 0; i--) {
    const j = Math.floor(Math.random() * (i + 1));
    [all[i], all[j]] = [all[j]!, all[i]!];
  }
  return all;
}
