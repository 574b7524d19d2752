/**
 * The states of a job and the moves between them: the one table that decides what compiles.
 *
 * A move that is not in MOVES cannot be written (`Next<From>`) and is refused by the store's script. Which of
 * two legal moves wins is the store's compare-and-set; what a move means is `settle.ts`.
 */

export const STATES = [
  'queued',
  'dispatching',
  'running',
  'unreachable',
  'canceling',
  'succeeded',
  'failed',
  'timed_out',
  'canceled',
  'expired',
  'lost',
] as const;
export type State = (typeof STATES)[number];

/** The states in which a job is over. Of these only `lost` can still be corrected. */
export const OVER = ['succeeded', 'failed', 'timed_out', 'canceled', 'expired', 'lost'] as const;
export type OverState = (typeof OVER)[number];

export const MOVES = {
  // To `timed_out` and `lost`: as its last attempt, where a further one does not start in time.
  queued: ['dispatching', 'failed', 'timed_out', 'canceled', 'expired', 'lost'],
  dispatching: [
    'queued',
    'running',
    'canceling',
    'succeeded',
    'failed',
    'timed_out',
    'canceled',
    'expired',
    'lost',
  ],
  running: ['unreachable', 'canceling', 'queued', 'succeeded', 'failed', 'timed_out', 'canceled', 'lost'],
  unreachable: ['running', 'canceling', 'queued', 'succeeded', 'failed', 'timed_out', 'canceled', 'lost'],
  // To itself: asked for again, with another signal; or something of it cannot be killed.
  canceling: ['canceling', 'succeeded', 'failed', 'timed_out', 'canceled', 'lost'],
  succeeded: [],
  failed: [],
  timed_out: [],
  canceled: [],
  expired: [],
  // To itself: sighted, or a cancel that is still owed. To the others: recovered, once.
  lost: ['lost', 'succeeded', 'failed', 'timed_out', 'canceled'],
} as const satisfies Record<State, readonly State[]>;

/** The states that can follow all of `From`. */
export type Next<From extends State> = (typeof MOVES)[From][number];

export function isState(word: string): word is State {
  return (STATES as readonly string[]).includes(word);
}

export function isOver(state: State): state is OverState {
  return (OVER as readonly string[]).includes(state);
}

export function canMove(from: State, to: State): boolean {
  return (MOVES[from] as readonly State[]).includes(to);
}
