/** Commands on jobs' records, by workers whose view of a job is as old as the last time they read it. */
import { expect } from 'vitest';
import { outcome } from '../../src/job/outcome.ts';
import { canMove, MOVES, STATES, type State } from '../../src/job/states.ts';
import { command, nth, seen } from './store-model.command.ts';
import { type Held, isPlaced, type Model, moved, OVER } from './store-model.ts';

const HOUR_MS = 3_600_000;
const FOLLOWED: readonly State[] = ['running', 'unreachable', 'canceling'];

export const read = (worker: number, n: number) =>
  command(`read(${worker}, ${n})`, async ({ jobs: all }, { jobs, views }) => {
    const job = nth(all.values(), n);
    views[worker] = job ? await jobs.get(job.id) : null;
    if (job) expect(views[worker]).toMatchObject({ state: job.state, version: job.version });
  });

export interface Wish {
  /** Which job it reads first; null: it goes by what it knows. */
  reads: number | null;
  /** Among the states that can be next; where `goesOn`, those in which it is not over, if there are any. */
  to: number;
  goesOn: boolean;
  /** From every state that can become so, as it is done of several. */
  broad: boolean;
  later: boolean;
  anew: boolean;
}

export const move = (worker: number, wish: Wish) =>
  command(`move(${worker}, ${JSON.stringify(wish)})`, async (model, { jobs, views }) => {
    if (wish.reads !== null) views[worker] = await jobs.get(nth(unsettled(model), wish.reads) ?? '');
    const view = views[worker];
    const to = view && nextState(view.state, wish);
    // Canceling is asked for, below; and only who claimed a job starts it, or who thinks so.
    if (!view || !to || to === 'canceling') return;
    const claims = ({ claim }: Held) => claim.id === view.id;
    if (to === 'dispatching' && !model.held.some(claims)) {
      if (!model.gone.some(claims)) return;
      model.adrift.add(view.id);
    }
    const from = wish.broad ? STATES.filter((state) => canMove(state, to)) : [view.state];
    const started = to === 'dispatching' ? Math.max(view.attempt, 1) : view.attempt;
    const attempt = to === 'queued' && wish.anew ? view.attempt + 1 : started;
    const result = await jobs.transition(view, from, to as never, {
      why: 'by the model',
      attempt,
      ...(to === 'queued' && { eligible_at: wish.later ? Date.now() + HOUR_MS : 0 }),
      ...(FOLLOWED.includes(to) && { next_poll_at: 1 }),
      ...(to === 'lost' && { next_poll_at: wish.later ? 1 : null }),
      ...(OVER.includes(to) && { outcome: outcome('exit') }),
    });
    const job = model.jobs.get(view.id);
    const wins = job !== undefined && from.includes(job.state) && job.attempt === view.attempt;
    expect(result !== false, `${view.id} moves to ${to}`).toBe(wins);
    seen[result ? 'moved' : 'refused']++;
    if (!result || !job) return;
    moved(model, job, { from, to, attempt, isDue: !wish.later });
    expect(result).toMatchObject({ state: to, version: job.version });
    views[worker] = result;
  });

export const cancel = (n: number) =>
  command(
    `cancel(${n})`,
    async (model, { cancel: ask }) => {
      const job = nth(model.jobs.values(), n);
      if (!job) return;
      const { attempt, state } = job;
      const result = await ask(job.id, { signal: 'TERM', grace_seconds: 1, reason: null }, 'test');
      const over = OVER.includes(state) && state !== 'lost';
      expect(result?.kind).toBe(over ? 'over' : state === 'queued' ? 'canceled' : 'canceling');
      if (over || state === 'canceling' || (state === 'lost' && job.cancelOwed)) return;
      const to = state === 'queued' ? 'canceled' : state === 'lost' ? 'lost' : 'canceling';
      moved(model, job, { from: [state], to, attempt, isDue: true, untold: state === 'lost' });
      job.cancelOwed = to !== 'canceled';
      seen.canceled++;
    },
    ({ jobs }) => jobs.size > 0,
  );

export const note = (worker: number) =>
  command(`note(${worker})`, async (model, { jobs, views }) => {
    const view = views[worker];
    if (!view) return;
    const isCurrent = model.jobs.get(view.id)?.version === view.version;
    expect(await jobs.note(view, { stdout_bytes: 7 }), `${view.id} is noted`).toBe(isCurrent);
  });

export const remove = (worker: number) =>
  command(`remove(${worker})`, async (model, { jobs, views }) => {
    const view = views[worker];
    const job = view && model.jobs.get(view.id);
    // Whoever removes has read a job that is over; a week after its end nobody holds it any more.
    if (!view || !job || !OVER.includes(view.state) || isPlaced(model, view)) return;
    const isCurrent = job.version === view.version;
    expect(await jobs.remove(view), `${view.id} is removed`).toBe(isCurrent);
    if (!isCurrent) return;
    seen.removed++;
    model.jobs.delete(view.id);
    if (job.key !== null) model.keys.delete(job.key);
  });

function nextState(state: State, { to, goesOn }: Wish): State | undefined {
  const all: readonly State[] = MOVES[state];
  const goingOn = all.filter((next) => !OVER.includes(next) && next !== 'canceling');
  return nth(goesOn && goingOn.length > 0 ? goingOn : all, to);
}

/** What workers have in hand, or ask about: whatever is not over, or lost. */
function unsettled({ jobs, held }: Model): string[] {
  const asked = [...jobs.values()].filter(({ state }) => state === 'lost' || !OVER.includes(state));
  return [
    ...held.map(({ claim }) => claim.id),
    ...asked.filter(({ state }) => state !== 'queued').map(({ id }) => id),
  ];
}
