/**
 * Whether nothing of a job can be at work any more: what another one with the same unique key waits for. A job may be
 * over and this not be known: its host is silent, or its agent cannot look.
 */
import type { OutcomeKind } from './outcome.ts';
import type { Job } from './record.ts';
import { isOver } from './states.ts';

/** Of a `lost` job: it was not seen to end. After a reboot, or without a process, it cannot be at work. */
const NOT_SEEN_TO_END = new Set<OutcomeKind>(['silent', 'ambiguous_start', 'forgotten']);
/**
 * Stopped by us: with `proof: "none"` by an agent that marks a job as stopped, and leaves it at work; with processes left
 * that withstood it. What a job left behind on purpose when it ended by itself is no job any more.
 */
const STOPPED = new Set<OutcomeKind>(['canceled', 'timeout']);

export function isProvenOver({
  state,
  outcome,
  attempts,
}: Pick<Job, 'state' | 'outcome' | 'attempts'>): boolean {
  if (!isOver(state) || outcome === null) return false;
  // It was run again because nobody could say whether that one had begun, or is at work.
  if (attempts.some(({ outcome: { kind } }) => kind === 'ambiguous_start')) return false;
  if (state === 'lost') return !NOT_SEEN_TO_END.has(outcome.kind);
  return !STOPPED.has(outcome.kind) || (outcome.proof !== 'none' && !outcome.leftover_processes);
}
