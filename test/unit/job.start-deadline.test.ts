/** The time by which each attempt must have started, and what a job comes to whose attempt has not. */
import { expect, it } from 'vitest';
import { asOfAttempt, nextAttempt } from '../../src/job/attempts.ts';
import { outcome } from '../../src/job/outcome.ts';
import type { Job } from '../../src/job/record.ts';
import { notStarted, startBy } from '../../src/job/start-deadline.ts';
import { newJob } from '../helpers/stores.ts';

const fields = { host: 'h', command: 'x', created_at: 1_000, start_deadline_seconds: 60 };
const FIRST: Job = newJob({ ...fields, attempt: 1, started_by: 'base', dispatched_at: 2_000 });

/** Before its second attempt, which may start from 500,000 on. */
function second(state: 'failed' | 'lost', kind: 'exit' | 'reboot' | 'ambiguous_start'): Job {
  const ended = { state, change: { outcome: outcome(kind), agent_job_id: 'own' } };
  const { why, eligible_at, ...change } = nextAttempt(FIRST, ended, { eligible_at: 500_000, why: '' });
  return { ...FIRST, ...change, state: 'queued' };
}

it('a first attempt has its time from the acceptance, a further one from when it may start', () => {
  expect(startBy(FIRST)).toBe(61_000);
  expect(startBy(second('failed', 'exit'))).toBe(560_000);
});

it('a further attempt of an earlier version has none', () => {
  const { next_from, ...kept } = second('failed', 'exit').attempts[0]!;
  expect(startBy({ ...second('failed', 'exit'), attempts: [kept] })).toBeNull();
});

it('a job that was never started expires', () => {
  expect(notStarted(FIRST, 0)).toMatchObject({ to: 'expired', change: { outcome: { kind: 'expired' } } });
});

it.each([
  ['failed', 'exit', undefined],
  ['lost', 'reboot', null],
  ['lost', 'ambiguous_start', 1_060_000],
] as const)(
  'a job whose last attempt was %s by %s ends so, asked about on as that one was',
  (state, kind, next) => {
    const { to, change } = notStarted(second(state, kind), 1_000_000);
    expect(to).toBe(state);
    expect(change).toMatchObject({
      ...{ outcome: { kind }, attempt: 1, attempts: [], started_by: 'base', agent_job_id: 'own' },
      dispatched_at: 2_000,
    });
    expect(change.next_poll_at).toBe(next);
    expect(change).not.toHaveProperty('next_from');
  },
);

it('a view of an earlier attempt does not tell when the next one was to start', () => {
  expect(asOfAttempt(second('failed', 'exit'), 1)).not.toHaveProperty('next_from');
});
