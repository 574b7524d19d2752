/** When a command is run again: over every cause, state and end. */
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { asOfAttempt } from '../../src/job/attempts.ts';
import type { Job } from '../../src/job/record.ts';
import { RETRY_CAUSES, type Retry } from '../../src/job/record.ts';
import { NO_OUTPUT, type Report } from '../../src/job/report.ts';
import { backoffMs, LONGEST_BACKOFF_SECONDS } from '../../src/job/retry.ts';
import { settle } from '../../src/job/settle.ts';
import type { State } from '../../src/job/states.ts';
import { newJob } from '../helpers/stores.ts';

const moment = { now: 1_800_000_000_000, skewMs: 0 };
const ALL: Retry = { max_attempts: 3, backoff_seconds: 10, on: RETRY_CAUSES };

const jobIn = (state: State, fields: Partial<Job> = {}): Job =>
  newJob({
    ...{ host: 'h', command: 'true', state, attempt: 1, started_by: 'full', agent_job_id: 'x-1', retry: ALL },
    ...fields,
  });

type Ended = Report & { kind: 'ended' };
const ended = (fields: Partial<Ended> = {}): Ended => ({
  kind: 'ended',
  ...{ reason: 'exit', return_code: 3, signal: null, message: null, started_at: moment.now - 5_000 },
  ...{ ended_at: moment.now, proof: 'cgroup', remaining_pids: [], leftover_processes: null },
  ...NO_OUTPUT,
  ...fields,
});

const ENDS: Record<(typeof RETRY_CAUSES)[number], Report> = {
  exit: ended(),
  signal: ended({ reason: 'signal', return_code: 137, signal: 'KILL' }),
  timeout: ended({ reason: 'timeout', return_code: null }),
  spawn_error: ended({ reason: 'spawn_error', return_code: null, message: 'no such user' }),
  reboot: { kind: 'vanished', reason: 'reboot', message: null },
};

describe('an attempt that is over', () => {
  it.each(RETRY_CAUSES)('by %s is followed by another one where that is asked for', (cause) => {
    const retry = { ...ALL, on: [cause] };
    const move = settle(jobIn('running', { retry }), ENDS[cause], moment);
    expect(move).toMatchObject({
      to: 'queued',
      change: {
        attempt: 2,
        eligible_at: moment.now + 10_000,
        outcome: null,
        started_at: null,
        started_by: null,
      },
    });
    expect(move?.change.attempts).toMatchObject([
      { attempt: 1, agent_job_id: 'x-1', outcome: { kind: cause } },
    ]);
  });

  it.each(RETRY_CAUSES)('by %s is the end of the job where only the others are asked for', (cause) => {
    const retry = { ...ALL, on: RETRY_CAUSES.filter((other) => other !== cause) };
    const move = settle(jobIn('running', { retry }), ENDS[cause], moment);
    expect(move?.to).not.toBe('queued');
    expect(move?.change.outcome?.kind).toBe(cause);
  });

  it('is the end of the job where it was the last one, or the only one', () => {
    expect(settle(jobIn('running', { attempt: 3 }), ended(), moment)?.to).toBe('failed');
    expect(settle(jobIn('running', { retry: null }), ended(), moment)?.to).toBe('failed');
  });

  it('is the end of the job where its code was 0', () => {
    expect(settle(jobIn('running'), ended({ return_code: 0 }), moment)?.to).toBe('succeeded');
  });

  it('is never followed by another one where nobody can say that nothing of it is at work', () => {
    const causes: Report[] = [
      { kind: 'unknown', message: null },
      { kind: 'vanished', reason: 'exit_unknown', message: null },
      ended({ reason: 'timeout', return_code: null, proof: 'none' }),
      ended({ reason: 'timeout', return_code: null, remaining_pids: [42] }),
      ended({ reason: 'canceled', return_code: 143 }),
    ];
    for (const report of causes) expect(settle(jobIn('running'), report, moment)?.to).not.toBe('queued');
  });

  it('is never followed by another one of a job that is lost, or that somebody wants to end', () => {
    const asked = { cancel_requested_at: moment.now - 1 };
    for (const report of Object.values(ENDS)) {
      for (const job of [jobIn('lost'), jobIn('canceling', asked), jobIn('running', asked)]) {
        expect(settle(job, report, moment)?.to).not.toBe('queued');
      }
    }
  });
});

describe('the attempts of a job', () => {
  it('keep how each ended, and how its output is asked for', () => {
    const first = settle(jobIn('running', { started_by: 'base', launcher_dir: '/d' }), ended(), moment);
    const second = { ...jobIn('running'), ...first?.change, started_by: 'full', agent_job_id: 'x-2' } as Job;
    expect(second.launcher_dir).toBeNull();
    const last = settle(second, ENDS.signal, moment)?.change as Partial<Job>;
    const job = { ...second, ...last };
    expect(job.attempts.map(({ attempt }) => attempt)).toEqual([1, 2]);
    expect(asOfAttempt(job, 1)).toMatchObject({
      ...{ attempt: 1, state: 'failed', started_by: 'base', agent_job_id: 'x-1', launcher_dir: '/d' },
      outcome: { kind: 'exit', return_code: 3 },
    });
    expect(asOfAttempt(job, 2)).toMatchObject({ started_by: 'full', outcome: { kind: 'signal' } });
    expect(asOfAttempt(job, 3)).toBe(job);
  });
});

it('the pause doubles with every attempt, from what was asked for up to an hour', () => {
  expect([1, 2, 3, 4].map((attempt) => backoffMs({ backoff_seconds: 10 }, attempt))).toEqual([
    10_000, 20_000, 40_000, 80_000,
  ]);
  fc.assert(
    fc.property(fc.integer({ min: 0, max: 3_600 }), fc.integer({ min: 1, max: 20 }), (seconds, attempt) => {
      const pause = backoffMs({ backoff_seconds: seconds }, attempt);
      expect(pause).toBeGreaterThanOrEqual(seconds * 1_000);
      expect(pause).toBeLessThanOrEqual(LONGEST_BACKOFF_SECONDS * 1_000);
    }),
  );
});
