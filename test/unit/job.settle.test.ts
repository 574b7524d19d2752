/** The decision about a report, over everything that a host may say in every state. */
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { outcome } from '../../src/job/outcome.ts';
import { type Job, NOT_STARTED } from '../../src/job/record.ts';
import { NO_OUTPUT, type Report } from '../../src/job/report.ts';
import { LOST_ASKS, settle, settleSilence } from '../../src/job/settle.ts';
import { canMove, isOver, OVER, STATES, type State } from '../../src/job/states.ts';
import { newJob } from '../helpers/stores.ts';

const moment = { now: 1_800_000_000_000, skewMs: 2_000 };

const ended = (fields: Partial<Report & { kind: 'ended' }> = {}): Report & { kind: 'ended' } => ({
  kind: 'ended',
  reason: 'exit',
  return_code: 0,
  signal: null,
  message: null,
  started_at: moment.now - 5_000,
  ended_at: moment.now,
  proof: null,
  remaining_pids: [],
  leftover_processes: null,
  ...NO_OUTPUT,
  ...fields,
});
const running: Report = { kind: 'running', started_at: moment.now, attach_command: null, ...NO_OUTPUT };

const reports: fc.Arbitrary<Report> = fc.oneof(
  fc.constant(running),
  fc
    .record({
      reason: fc.constantFrom('exit', 'signal', 'timeout', 'canceled', 'spawn_error'),
      return_code: fc.option(fc.integer({ min: 0, max: 255 })),
      remaining_pids: fc.array(fc.integer({ min: 2, max: 99_999 }), { maxLength: 2 }),
    } as const)
    .map((fields) => ended(fields as Partial<Report & { kind: 'ended' }>)),
  fc.constantFrom<Report>(
    { kind: 'never_ran', message: null },
    { kind: 'vanished', reason: 'reboot', message: null },
    { kind: 'vanished', reason: 'exit_unknown', message: null },
    { kind: 'unknown', message: null },
  ),
);
const asked: State[] = ['dispatching', 'running', 'unreachable', 'canceling', 'lost'];
const jobIn = (state: State, fields: Partial<Job> = {}): Job =>
  newJob({ ...NOT_STARTED, host: 'h', command: 'true', state, attempt: 1, ...fields });

describe('settle', () => {
  it('only makes legal moves, and writes an outcome exactly when the job is over', () => {
    fc.assert(
      fc.property(fc.constantFrom(...asked), reports, (state, report) => {
        const move = settle(jobIn(state), report, moment);
        if (!move) return;
        expect(canMove(state, move.to)).toBe(true);
        if (isOver(move.to) && move.change.type !== 'job.sighted') expect(move.change.outcome).toBeTruthy();
        else expect(move.change.outcome ?? null).toBeNull();
      }),
      { numRuns: 2_000 },
    );
  });

  it('never makes a job failed of a host that says nothing about its end', () => {
    for (const state of ['running', 'unreachable', 'canceling'] as const) {
      for (const report of [{ kind: 'unknown', message: null }, running] as Report[]) {
        expect(settle(jobIn(state), report, moment)?.to).not.toBe('failed');
      }
    }
  });

  it('never starts anew what is lost or canceling', () => {
    fc.assert(
      fc.property(fc.constantFrom<State>('lost', 'canceling'), reports, (state, report) => {
        expect(settle(jobIn(state), report, moment)?.to).not.toBe('queued');
      }),
    );
  });

  it('corrects the times of the host by its clock skew', () => {
    const move = settle(jobIn('running'), ended(), moment);
    expect(move?.change.ended_at).toBe(moment.now - moment.skewMs);
  });

  it.each([
    [ended({ return_code: 0 }), 'succeeded', 'exit'],
    [ended({ return_code: 124 }), 'failed', 'exit'],
    [ended({ reason: 'signal', return_code: 137, signal: 'KILL' }), 'failed', 'signal'],
    [ended({ reason: 'timeout', return_code: null }), 'timed_out', 'timeout'],
    [ended({ reason: 'canceled', return_code: 143 }), 'canceled', 'canceled'],
    [ended({ reason: 'spawn_error', return_code: null }), 'failed', 'spawn_error'],
    [{ kind: 'vanished', reason: 'reboot', message: null } as Report, 'lost', 'reboot'],
    [{ kind: 'vanished', reason: 'exit_unknown', message: null } as Report, 'lost', 'exit_unknown'],
    [{ kind: 'unknown', message: null } as Report, 'lost', 'forgotten'],
  ])('makes of a running job and %j the state %s', (report, state, kind) => {
    const move = settle(jobIn('running'), report, moment);
    expect(move?.to).toBe(state);
    expect(move?.change.outcome?.kind).toBe(kind);
  });

  it('takes a job that ended before the signal at its word, though a cancel was asked for', () => {
    expect(settle(jobIn('canceling'), ended({ return_code: 0 }), moment)?.to).toBe('succeeded');
  });

  it('does not call a job canceled while some of its processes are left', () => {
    expect(
      settle(jobIn('canceling'), ended({ reason: 'canceled', remaining_pids: [42] }), moment),
    ).toBeNull();
  });

  it('sights a lost job once, and recovers it with its own event', () => {
    expect(settle(jobIn('lost'), running, moment)?.change).toMatchObject({ type: 'job.sighted' });
    expect(settle(jobIn('lost', { sighted_at: 1 }), running, moment)).toBeNull();
    const recovered = settle(jobIn('lost'), ended(), moment);
    expect(recovered).toMatchObject({ to: 'succeeded', change: { type: 'job.recovered' } });
  });
});

describe('a job that its host certifies never to have begun', () => {
  const neverRan: Report = { kind: 'never_ran', message: null };

  it.each(['dispatching', 'running', 'unreachable'] as const)(
    'is queued again under the same token, if it was %s',
    (state) => {
      const move = settle(jobIn(state), neverRan, moment);
      expect(move?.to).toBe('queued');
      expect(move?.change.attempt).toBeUndefined();
      expect(move?.change.started_at).toBeNull();
    },
  );

  it('is canceled if it was canceling', () => {
    expect(settle(jobIn('canceling'), neverRan, moment)?.to).toBe('canceled');
  });
});

describe('a lost job', () => {
  it.each(['reboot', 'exit_unknown'] as const)('says what to do about it: %s', (reason) => {
    const move = settle(jobIn('running'), { kind: 'vanished', reason, message: null }, moment);
    expect(move?.change.outcome?.message).toMatch(/: look on its host .* before submitting it again$/);
  });

  it('says what to do about it, if its host has forgotten it or fell silent', () => {
    const forgotten = settle(jobIn('running'), { kind: 'unknown', message: 'not known' }, moment);
    expect(forgotten?.change.outcome?.message).toMatch(/^not known: look on its host whether it still runs/);
    const silence = { since: 1, silentMs: 1e12, asks: LOST_ASKS };
    const silent = settleSilence(jobIn('unreachable'), silence, moment);
    expect(silent?.change.outcome?.message).toMatch(/: see to its host; once that answers/);
  });
});

describe('a job that its host had forgotten', () => {
  const forgotten = jobIn('lost', {
    started_at: moment.now - 60_000,
    outcome: outcome('forgotten', { message: 'the host does not know the job' }),
  });

  it('is not recovered by the tombstone that our own cancel left there', () => {
    const tombstone = ended({ reason: 'canceled', return_code: null, started_at: null });
    expect(settle(forgotten, tombstone, moment)).toBeNull();
  });

  it('is recovered by a record of its end, a cancel included', () => {
    const move = settle(forgotten, ended({ reason: 'canceled', return_code: 143 }), moment);
    expect(move).toMatchObject({ to: 'canceled', change: { type: 'job.recovered' } });
  });
});

describe('settleSilence', () => {
  const job = { lost_after_seconds: 60 };

  it('makes a running job unreachable, never more, however long the silence', () => {
    const move = settleSilence(jobIn('running', job), { since: 5, silentMs: 1e9, asks: 99 }, moment);
    expect(move).toMatchObject({ to: 'unreachable', change: { unreachable_since: 5 } });
  });

  it('gives up a start whose host never came back, without a word about whether it began', () => {
    const silence = { since: 5, silentMs: 60_000, asks: LOST_ASKS };
    expect(settleSilence(jobIn('dispatching', job), silence, moment)).toMatchObject({
      to: 'lost',
      change: { outcome: { kind: 'ambiguous_start' } },
    });
    expect(settleSilence(jobIn('dispatching', job), { ...silence, silentMs: 1 }, moment)).toBeNull();
  });

  it('gives an unreachable job up only after its time and at least five failed asks', () => {
    fc.assert(
      fc.property(fc.nat(200_000), fc.nat(10), (silentMs, asks) => {
        const move = settleSilence(jobIn('unreachable', job), { since: 5, silentMs, asks }, moment);
        expect(move?.to ?? null).toBe(silentMs >= 60_000 && asks >= LOST_ASKS ? 'lost' : null);
      }),
    );
  });
});

describe('the table of moves', () => {
  it('takes nothing from a report that comes late: of a job that is over, or waits to be started', () => {
    const others = STATES.filter((state) => !asked.includes(state));
    fc.assert(
      fc.property(fc.constantFrom(...others), reports, (state, report) => {
        expect(settle(jobIn(state), report, moment)).toBeNull();
      }),
    );
  });

  it('lets no over state but lost be left', () => {
    for (const state of OVER.filter((over) => over !== 'lost')) {
      expect(STATES.filter((to) => canMove(state, to))).toEqual([]);
    }
  });

  it('reaches every state from queued', () => {
    const seen = new Set<State>(['queued']);
    for (const state of seen) for (const to of STATES) if (canMove(state, to)) seen.add(to);
    expect([...seen].sort()).toEqual([...STATES].sort());
  });
});
