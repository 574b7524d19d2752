/**
 * A host's circuit: how failures hold requests back. Pure; what opens and closes it is counted in the store, by
 * Redis' clock (`seen_at`).
 */
import type { SluiceError } from './errors.ts';
import { type HostHealth, pauseLeftMs } from './host.ts';

export const CIRCUITS = ['closed', 'paused', 'probation', 'open'] as const;

/**
 * `closed`: as many requests as its limits allow. `paused`: it answers, and has asked for a pause (429, 503).
 * `probation`: unproven or failing, so one request at a time. `open`: nothing is sent until its pause is over.
 */
export type Circuit = (typeof CIRCUITS)[number];

export function circuitOf(health: Pick<HostHealth, 'status' | 'retry_at' | 'seen_at'>): Circuit {
  const isPaused = pauseLeftMs(health) > 0;
  if (health.status === 'up') return isPaused ? 'paused' : 'closed';
  if (!isPaused) return 'probation';
  // Nothing has failed yet on a host that is not known: it was the host itself that asked for the pause.
  return health.status === 'unknown' ? 'paused' : 'open';
}

/** How long an agent that answered `agent_busy` is left alone, in ms: what it asked for, within reason. */
export function pauseAskedMs({ fields }: Pick<SluiceError, 'fields'>): number {
  return Math.min(Math.max(Number(fields.retry_after ?? 1), 1), 300) * 1_000;
}
