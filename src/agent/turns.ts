/** Work on one job at a time: what starts a job and what makes sure that it never starts must not overlap. */

export type Turns = ReturnType<typeof createTurns>;

export function createTurns() {
  const last = new Map<string, Promise<unknown>>();

  /** Runs `work` once everything that was asked for this id before has ended, well or not. */
  return function inTurn<T>(id: string, work: () => Promise<T>): Promise<T> {
    const before = last.get(id) ?? Promise.resolve();
    const mine = before.then(work, work);
    last.set(id, mine);
    const forget = () => {
      if (last.get(id) === mine) last.delete(id);
    };
    mine.then(forget, forget);
    return mine;
  };
}
