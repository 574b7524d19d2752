/**
 * What a host's report, or its silence, means for a job: the one place that decides it.
 *
 * Pure. The host's own record decides; silence alone never fails a job; a lost job is corrected once. `null` means
 * that nothing changes.
 */
import type { Move } from './move.ts';
import { type Outcome, outcome } from './outcome.ts';
import { FIRST_PAUSE_MS, LOST_PAUSE_MS } from './pace.ts';
import { isProvenOver } from './proven-over.ts';
import type { Job } from './record.ts';
import { withAdvice } from './remedies.ts';
import type { Report } from './report.ts';
import { retried } from './retry.ts';
import type { State } from './states.ts';

/** A job is given up as lost only after so many failed asks, however long the silence. */
export const LOST_ASKS = 5;

export interface Moment {
  /** By Redis' clock, in ms. */
  now: number;
  /** The host's clock minus ours. */
  skewMs: number;
}

/**
 * States in which a host is asked about a job. What it says of a job in another one comes late: somebody else asked at
 * the same time, and has committed it.
 */
const ASKED_ABOUT = new Set<State>(['dispatching', 'running', 'unreachable', 'canceling', 'lost']);

export function settle(job: Job, report: Report, moment: Moment): Move | null {
  if (!ASKED_ABOUT.has(job.state)) return null;
  const move = meaning(job, report, moment);
  return move && retried(job, report, move, moment.now);
}

function meaning(job: Job, report: Report, moment: Moment): Move | null {
  switch (report.kind) {
    case 'running':
      return settleRunning(job, report, moment);
    case 'ended':
      return settleEnded(job, report, moment);
    case 'never_ran':
      return settleNeverRan(job, report.message, moment);
    case 'vanished':
      return settleVanished(job, report, moment);
    case 'unknown':
      return settleUnknown(job, report.message, moment);
  }
}

export interface Silent {
  since: number;
  silentMs: number;
  /** Requests that failed meanwhile. */
  asks: number;
  /** Why there is no answer, where that is known. */
  why?: string;
}

/** What a silence means. */
export function settleSilence(job: Job, silence: Silent, moment: Moment): Move | null {
  const gone = silence.silentMs >= job.lost_after_seconds * 1_000 && silence.asks >= LOST_ASKS;
  if (job.state === 'running') {
    return {
      to: 'unreachable',
      change: {
        unreachable_since: silence.since,
        next_poll_at: moment.now + FIRST_PAUSE_MS,
        why: silence.why ?? 'the host does not answer',
      },
    };
  }
  if (job.state === 'dispatching' && gone) {
    const message = 'its host fell silent while it was asked to start it, and whether it did is not known';
    return lost(outcome('ambiguous_start', { message }), moment, moment.now + LOST_PAUSE_MS);
  }
  if ((job.state === 'unreachable' || job.state === 'canceling') && gone) {
    const message = `the host has not answered for ${job.lost_after_seconds} s`;
    return lost(outcome('silent', { message }), moment, moment.now + LOST_PAUSE_MS);
  }
  return null;
}

function settleRunning(job: Job, report: Report & { kind: 'running' }, { now, skewMs }: Moment): Move | null {
  const seen = {
    started_at: hostTime(report.started_at, skewMs) ?? job.started_at ?? now,
    attach_command: report.attach_command ?? job.attach_command,
    stdout_bytes: report.stdout_bytes ?? job.stdout_bytes,
    stderr_bytes: report.stderr_bytes ?? job.stderr_bytes,
  };
  const next_poll_at = now + FIRST_PAUSE_MS;
  if (job.state === 'dispatching') {
    return { to: 'running', change: { ...seen, next_poll_at, why: 'started' } };
  }
  if (job.state === 'unreachable') {
    const change = {
      ...seen,
      unreachable_since: null,
      unanswered_asks: 0,
      next_poll_at,
      why: 'the host answers again',
    };
    return { to: 'running', change };
  }
  if (job.state === 'lost' && job.sighted_at === null) {
    return {
      to: 'lost',
      change: {
        ...seen,
        sighted_at: now,
        next_poll_at: now + LOST_PAUSE_MS,
        type: 'job.sighted',
        why: 'seen running on its host',
      },
    };
  }
  return null;
}

function settleEnded(job: Job, report: Report & { kind: 'ended' }, moment: Moment): Move | null {
  if (report.reason === 'canceled' && report.remaining_pids.length > 0) return null;
  if (isOwnTombstone(job, report)) return null;
  const ended_at = hostTime(report.ended_at, moment.skewMs);
  const { to, why } = ENDS[report.reason](report);
  const change = {
    outcome: outcome(report.reason, {
      return_code: report.return_code,
      signal: report.signal,
      message: report.message,
      proof: report.proof,
      leftover_processes: report.leftover_processes,
      ended_at,
    }),
    ended_at: ended_at ?? moment.now,
    started_at: hostTime(report.started_at, moment.skewMs) ?? job.started_at,
    unreachable_since: null,
    stdout_bytes: report.stdout_bytes ?? job.stdout_bytes,
    stderr_bytes: report.stderr_bytes ?? job.stderr_bytes,
    why,
  };
  if (job.state !== 'lost') return { to, change };
  return { to, change: { ...change, recovered_at: moment.now, type: 'job.recovered' } };
}

/** Of a job that its host had forgotten, "canceled before it began" is what our own cancel left there, and no proof. */
function isOwnTombstone(job: Job, report: Ended): boolean {
  const forgotten = job.state === 'lost' && job.outcome?.kind === 'forgotten';
  return forgotten && report.reason === 'canceled' && report.started_at === null;
}

type Ended = Report & { kind: 'ended' };

const ENDS: Record<Ended['reason'], (report: Ended) => { to: State; why: string }> = {
  exit: ({ return_code }) => ({
    to: return_code === 0 ? 'succeeded' : 'failed',
    why: `ended with code ${return_code}`,
  }),
  signal: ({ signal }) => ({ to: 'failed', why: `ended by signal ${signal}` }),
  timeout: () => ({ to: 'timed_out', why: 'ran longer than timeout_seconds' }),
  canceled: () => ({ to: 'canceled', why: 'stopped on request' }),
  spawn_error: ({ message }) => ({ to: 'failed', why: message ?? 'could not be started' }),
};

function settleNeverRan(job: Job, message: string | null, moment: Moment): Move | null {
  if (job.state === 'canceling') {
    const text = message ?? 'canceled before it was started';
    return {
      to: 'canceled',
      change: { outcome: outcome('canceled', { message: text }), ended_at: moment.now, why: text },
    };
  }
  if (job.state === 'lost') {
    const text = message ?? 'it never began';
    const ended: Outcome = outcome('spawn_error', { message: text });
    const change = {
      outcome: ended,
      recovered_at: moment.now,
      ended_at: moment.now,
      type: 'job.recovered' as const,
    };
    return { to: 'failed', change: { ...change, why: text } };
  }
  return {
    to: 'queued',
    change: {
      // Growing, so that a host on which nothing can begin is not tried again every second.
      eligible_at: moment.now + 1_000 * 2 ** Math.min(6, Math.floor(job.version / 3)),
      started_at: null,
      unreachable_since: null,
      why: 'the host says that it never began',
    },
  };
}

function settleUnknown(job: Job, message: string | null, moment: Moment): Move | null {
  if (job.state === 'lost') return null;
  const text = message ?? 'the host does not know the job any more';
  // Asked about further on: what was wiped may be restored.
  return lost(outcome('forgotten', { message: text }), moment, moment.now + LOST_PAUSE_MS);
}

/** A lost job that might have been running is known to be gone now: it stays lost, and holds nobody up any more. */
function settleVanished(job: Job, report: Report & { kind: 'vanished' }, moment: Moment): Move | null {
  if (job.state === 'lost' && isProvenOver(job)) return null;
  const gone = outcome(report.reason, { message: report.message ?? VANISHED[report.reason] });
  const move = lost(gone, moment, null);
  return job.state === 'lost' ? { ...move, change: { ...move.change, lost_at: job.lost_at } } : move;
}

const VANISHED = {
  reboot: 'the host was rebooted while it ran',
  exit_unknown: 'it is gone, and nobody recorded how it ended',
} as const;

function lost(ended: Outcome, { now }: Moment, nextPollAt: number | null): Move {
  return {
    to: 'lost',
    change: {
      outcome: withAdvice(ended),
      lost_at: now,
      unreachable_since: null,
      next_poll_at: nextPollAt,
      why: ended.message ?? ended.kind,
    },
  };
}

function hostTime(time: number | null, skewMs: number): number | null {
  return time === null ? null : Math.round(time - skewMs);
}
