/**
 * Which faults there are, how often each comes, and the schedule that a seed stands for: all of it is drawn before the
 * first fault is made, so that the same seed makes the same choices however fast the machine is.
 */
import type { Random } from '../helpers/random.ts';

/** What a fault can be done to; which of them a world has, it says itself. */
export type TargetGroup =
  | 'api'
  | 'worker'
  | 'redis'
  | 'agent'
  | 'base agent'
  | 'receiver'
  | 'disk'
  | 'link to api'
  | 'link to agent'
  | 'link to receiver'
  | 'link to redis'
  | 'primary';

export interface Kind {
  name: string;
  /** How often it comes, against the others. */
  weight: number;
  at: TargetGroup[];
  /** How long it lasts, in ms; evenly between the two. */
  lastsMs: [number, number];
}

const kinds = (at: TargetGroup[], ...list: [string, number, number, number][]): Kind[] =>
  list.map(([name, weight, least, most]) => ({ name, weight, at, lastsMs: [least, most] }));

export const KINDS: readonly Kind[] = [
  ...kinds(['api'], ['kill', 8, 0, 0], ['freeze', 3, 500, 8_000], ['clock jump', 1, 2_000, 6_000]),
  // A worker's locks and leases last 5 s: some wake up after somebody else has taken over.
  ...kinds(['worker'], ['kill', 10, 0, 0], ['freeze', 8, 500, 12_000], ['clock jump', 3, 2_000, 8_000]),
  ...kinds(['api'], ['crash point', 4, 0, 20_000]),
  ...kinds(['worker'], ['crash point', 10, 0, 20_000]),
  ...kinds(['redis'], ['kill', 6, 0, 1_500], ['freeze', 4, 300, 6_000]),
  ...kinds(['agent'], ['kill', 9, 0, 3_000], ['freeze', 5, 500, 8_000], ['clock jump', 2, 2_000, 8_000]),
  ...kinds(['agent'], ['crash point', 6, 0, 20_000]),
  ...kinds(['base agent'], ['kill', 5, 0, 3_000], ['freeze', 3, 500, 8_000]),
  ...kinds(
    ['link to agent'],
    ['cut', 8, 0, 0],
    ['stall', 7, 500, 9_000],
    ['refuse', 4, 500, 5_000],
    ['one way lost', 6, 500, 8_000],
    ['slow', 4, 1_000, 6_000],
    ['reply cut', 14, 1_000, 4_000],
    ['request cut', 6, 1_000, 4_000],
  ),
  ...kinds(
    ['link to api'],
    ['cut', 3, 0, 0],
    ['stall', 3, 500, 5_000],
    ['refuse', 2, 500, 4_000],
    ['slow', 1, 500, 3_000],
    ['reply cut', 8, 1_000, 4_000],
    ['request cut', 3, 1_000, 4_000],
  ),
  ...kinds(
    ['link to receiver'],
    ['cut', 3, 0, 0],
    ['stall', 3, 500, 6_000],
    ['refuse', 2, 500, 4_000],
    ['reply cut', 4, 1_000, 4_000],
  ),
  ...kinds(
    ['link to redis'],
    ['cut', 5, 0, 0],
    ['stall', 5, 500, 8_000],
    ['one way lost', 5, 500, 6_000],
    ['slow', 2, 500, 4_000],
    ['reply cut', 6, 500, 2_000],
    ['request cut', 4, 500, 2_000],
  ),
  ...kinds(
    ['receiver'],
    ['500', 3, 500, 5_000],
    ['429', 2, 500, 5_000],
    ['hang', 3, 500, 5_000],
    ['reset', 3, 500, 5_000],
    ['slow body', 2, 500, 5_000],
  ),
  ...kinds(['disk'], ['full', 5, 500, 5_000]),
  ...kinds(['primary'], ['kill', 10, 0, 0], ['freeze', 6, 3_000, 6_000], ['cut off', 14, 4_000, 8_000]),
];

/** One fault to come. */
export interface Fault {
  number: number;
  /** From the start, in ms. */
  atMs: number;
  kind: string;
  group: TargetGroup;
  target: string;
  lastsMs: number;
  /** For what the kind leaves open: how many bytes, which way, which point. In [0, 1). */
  draw: number;
}

/** What a fault to this group also occupies: nobody needs two primaries gone at once. */
const REST_MS: Partial<Record<TargetGroup, number>> = { primary: 12_000, redis: 1_000 };

/**
 * @param targets names by their group; a kind without a target does not come
 * @param every one fault in about so many ms
 */
export function schedule(
  random: Random,
  { targets, forMs, everyMs }: { targets: Map<TargetGroup, string[]>; forMs: number; everyMs: number },
): Fault[] {
  const able = KINDS.filter(({ at }) => at.some((group) => (targets.get(group) ?? []).length > 0));
  const faults: Fault[] = [];
  const busyUntil = new Map<string, number>();
  for (let atMs = 0; ; ) {
    atMs += random.between(0.2, 1.8) * everyMs;
    if (atMs >= forMs) return faults;
    const kind = random.byWeight(able, ({ weight }) => weight);
    const group = random.oneOf(kind.at);
    const target = random.oneOf(targets.get(group) ?? []);
    const lastsMs = Math.round(random.between(...kind.lastsMs));
    const draw = random.between(0, 1);
    if (atMs < (busyUntil.get(target) ?? 0)) continue;
    busyUntil.set(target, atMs + lastsMs + (REST_MS[group] ?? 200));
    const number = faults.length + 1;
    faults.push({ number, atMs: Math.round(atMs), kind: kind.name, group, target, lastsMs, draw });
  }
}
