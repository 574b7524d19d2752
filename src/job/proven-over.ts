/**
 * Whether nothing of a job can be at work any more: what another one with the same unique key waits for. A job may be
 * over and this not be known: its host is silent, or its agent cannot look.
 */
import type { OutcomeKind } from './outcome.ts';
import type { Job } from './record.ts';
import { isOver } from './states.ts';

/** Of a `lost` job: it was not seen to end. After a reboot, or without a process, it cannot be at work. */
const NOT_SEEN_TO_END = new Set<OutcomeKind>(['silent', 'ambiguous_start', 'forgotten']);
/** Stopped by us: with `proof: "none"` by an agent that marks a job as stopped, and leaves it at work. */
const STOPPED = new Set<OutcomeKind>(['canceled', 'timeout']);

export function isProvenOver({ state, outcome }: Pick<Job, 'state' | 'outcome'>): boolean {
  if (!isOver(state) || outcome === null) return false;
  if (state === 'lost') return !NOT_SEEN_TO_END.has(outcome.kind);
  return !(STOPPED.has(outcome.kind) && outcome.proof === 'none');
}
