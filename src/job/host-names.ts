/**
 * Many host names as people write them: `web[001-120],db[1,3]`, as ClusterShell's `nodeset` has it. Several ranges in
 * one name stand for every combination; leading zeros are kept; `[IPv6]:port` is an address, no range.
 *
 * What is folded unfolds to the same names, and what a text stands for is counted before the first name is made. Whether
 * a host of that name exists is not asked here.
 */
import { countOf, HostNamesError, type Pattern, parsePatterns } from './host-names/pattern.ts';
import { numbersOf } from './host-names/ranges.ts';
import { foldShape, shapesOf } from './host-names/shape.ts';

export { HostNamesError };

/**
 * @param texts each one or more names with commas between, folded or not
 * @param atMost how many names they may stand for, repeated ones counted
 * @returns every name once, in the order of the texts
 * @throws HostNamesError that names the first thing that is wrong
 */
export function unfold(texts: readonly string[], atMost: number): string[] {
  const patterns = texts.flatMap(parsePatterns);
  const count = patterns.reduce((sum, pattern) => sum + countOf(pattern), 0);
  if (count > atMost) throw new HostNamesError(`${count} names; at most ${atMost} can be given`);
  return [...new Set(patterns.flatMap(namesOf))];
}

/** @returns one text for all of the names, the same in whatever order they come */
export function fold(names: readonly string[]): string {
  return shapesOf([...new Set(names)])
    .flatMap(foldShape)
    .join(',');
}

function namesOf(pattern: Pattern): string[] {
  let names = [''];
  for (const part of pattern) {
    const ends = typeof part === 'string' ? [part] : part.flatMap((range) => [...numbersOf(range)]);
    names = names.flatMap((name) => ends.map((end) => name + end));
  }
  return names;
}
