/** The chart of states in the documents, compared with the table that decides. */
import { readFileSync } from 'node:fs';
import { expect, it } from 'vitest';
import { isOver, MOVES, STATES } from '../../src/job/states.ts';

it('docs/job-states.md names every state, whether it is over, and exactly its moves', () => {
  const text = readFileSync(new URL('../../docs/job-states.md', import.meta.url), 'utf8');
  const rows = text.matchAll(/^\| `(\w+)` \| (yes|no) \| [^|]+ \| ([^|]*)\|$/gm);
  const chart = Object.fromEntries(
    [...rows].map(([, state, over, moves]) => [
      state,
      { over: over === 'yes', moves: [...(moves ?? '').matchAll(/`(\w+)`/g)].map(([, to]) => to) },
    ]),
  );
  expect(chart).toEqual(
    Object.fromEntries(STATES.map((state) => [state, { over: isOver(state), moves: [...MOVES[state]] }])),
  );
});
