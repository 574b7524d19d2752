/**
 * A host's circuit: how failures hold requests back. Pure; what opens and closes it is counted in the store, by
 * Redis' clock (`seen_at`).
 */
import type { SluiceError } from './errors.ts';
import { type HostHealth, pauseLeftMs, startsPauseLeftMs } from './host.ts';

export const CIRCUITS = ['closed', 'paused', 'probation', 'open'] as const;

/**
 * `closed`: as many requests as its limits allow. `paused`: it answers, and has asked for a pause (429, 503), or for
 * one of new starts alone.
 * `probation`: unproven or failing, so one request at a time. `open`: nothing is sent until its pause is over.
 */
export type Circuit = (typeof CIRCUITS)[number];

export function circuitOf(
  health: Pick<HostHealth, 'status' | 'retry_at' | 'no_starts_until' | 'seen_at'>,
): Circuit {
  const isPaused = pauseLeftMs(health) > 0;
  if (health.status === 'up') return isPaused || startsPauseLeftMs(health) > 0 ? 'paused' : 'closed';
  if (!isPaused) return 'probation';
  // Nothing has failed yet on a host that is not known: it was the host itself that asked for the pause.
  return health.status === 'unknown' ? 'paused' : 'open';
}

/** What is wrong with the host, or else why its agent takes no new job. */
export function causeOf(health: HostHealth): string | null {
  return health.cause ?? (startsPauseLeftMs(health) > 0 ? health.no_starts_why : null);
}

/**
 * Refusals that are about starts alone: the agent has no room for another job, or takes none any more. What runs
 * there is asked about and canceled all the same, even after a cancel that found no room: the next one may make it.
 */
export function isOfStartsAlone({ code, fields }: Pick<SluiceError, 'code' | 'fields'>): boolean {
  return code === 'agent_busy' && ['disk_full', 'busy', 'draining'].includes(String(fields.agent_code));
}

/** How long an agent that answered `agent_busy` is left alone, in ms: what it asked for, within reason. */
export function pauseAskedMs({ fields }: Pick<SluiceError, 'fields'>): number {
  return Math.min(Math.max(Number(fields.retry_after ?? 1), 1), 300) * 1_000;
}
