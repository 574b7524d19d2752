/** The worlds of a run: which Redis, which hosts, for how long. */

import type { MutationName } from '../mutations/mutations.ts';
import { startSentinelSet } from './redis-sentinels.ts';
import { startSingleRedis } from './redis-single.ts';
import type { RunPlan } from './run.ts';

export interface Wanted {
  seed: number;
  /** How long faults are made, in minutes, all worlds together. */
  minutes: number;
  worlds: readonly WorldName[];
  perSecond: number;
  everyMs: number;
  mutation: MutationName | null;
}

export const WORLDS = ['one redis', 'sentinels'] as const;
export type WorldName = (typeof WORLDS)[number];

/** A second world says little more the longer it runs. */
const SHARES: Record<WorldName, number> = { 'one redis': 0.75, sentinels: 0.25 };

export function plansOf({ seed, minutes, worlds, perSecond, everyMs, mutation }: Wanted): RunPlan[] {
  const total = worlds.reduce((sum, name) => sum + SHARES[name], 0);
  return worlds.map((name) => {
    const forMs = Math.round((minutes * 60_000 * SHARES[name]) / total);
    return { ...{ seed, forMs, everyMs, perSecond, settleMs: 150_000, mutation }, ...WORLD[name] };
  });
}

const WORLD: Record<WorldName, Pick<RunPlan, 'name' | 'redis' | 'hosts' | 'settings'>> = {
  'one redis': {
    name: 'one redis',
    redis: startSingleRedis,
    settings: {},
    hosts: [
      // On a slow machine neither a cap nor slow starts of one host may hold back most of what is under way.
      { name: 'full-0', kind: 'full', share: 18, maxJobs: 12 },
      { name: 'full-1', kind: 'full', share: 42, maxRequests: 16 },
      { name: 'full-small-disk', kind: 'full', share: 10, dataDir: 'small-disk' },
      { name: 'base-a', kind: 'launcher', generation: 'A', share: 6 },
      { name: 'base-b', kind: 'launcher', generation: 'B', share: 6, maxJobs: 4 },
      { name: 'base-c', kind: 'launcher', generation: 'C', share: 6 },
      { name: 'bare-a', kind: 'bare', generation: 'A', share: 4 },
      { name: 'bare-b', kind: 'bare', generation: 'B', share: 4 },
    ],
  },
  sentinels: {
    name: 'sentinels',
    redis: startSentinelSet,
    settings: { SLUICE_ACK_REPLICAS: '1' },
    hosts: [
      { name: 'full-0', kind: 'full', share: 6, maxJobs: 12 },
      { name: 'full-1', kind: 'full', share: 14, maxRequests: 16 },
      { name: 'base-c', kind: 'launcher', generation: 'C', share: 3 },
    ],
  },
};
