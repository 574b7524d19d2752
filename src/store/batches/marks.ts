/**
 * Where each target of a batch stands, as one letter a target: ten thousand of them are one string of 10 KB, which says
 * which ones failed without reading ten thousand records.
 */
import { type Counted, countedAs } from '../../job/batch.ts';
import type { State } from '../../job/states.ts';

/** `withdrawn`: its job was canceled by its batch before it was started, and counts as `unstarted`. */
export type Standing = State | 'withdrawn' | 'unstarted';

const MARKS: Record<Exclude<Standing, 'unstarted'>, string> = {
  queued: 'q',
  dispatching: 'd',
  running: 'r',
  unreachable: 'u',
  canceling: 'c',
  succeeded: 'S',
  failed: 'F',
  timed_out: 'T',
  canceled: 'C',
  expired: 'E',
  lost: 'L',
  withdrawn: 'w',
};

const STANDINGS = new Map(Object.entries(MARKS).map(([standing, mark]) => [mark, standing as Standing]));

/** Lua: `MARKS[standing]`. */
export const MARKS_LUA = `
local MARKS = {${Object.entries(MARKS)
  .map(([standing, mark]) => `${standing} = '${mark}'`)
  .join(', ')}}
`;

/** As which of a batch's counts a target counts. */
export function countedIn(standing: Standing): Counted {
  return standing === 'unstarted' || standing === 'withdrawn' ? 'unstarted' : countedAs(standing);
}

/** @param marks as stored: shorter than the batch, or empty, where the last targets have no job yet */
export function standings(marks: string, total: number): Standing[] {
  return Array.from({ length: total }, (_, i) => STANDINGS.get(marks[i] ?? '') ?? 'unstarted');
}
