/**
 * Names of one shape: the same text around their numbers, as `rack1-node07.x` and `rack2-node11.x`. They differ in their
 * numbers only, so they are what can be folded into each other.
 */
import { foldNumbers, MAX_DIGITS, sortKeyOf } from './ranges.ts';

export interface Shape {
  /** What stands before, between and after the numbers. */
  texts: string[];
  /** The numbers of each name, in the order of the name. */
  rows: string[][];
}

/** Further numbers of a name are text: what folding costs grows with them. */
const MAX_NUMBERS = 8;

/** @param names each once @returns in the order of their texts */
export function shapesOf(names: readonly string[]): Shape[] {
  const shapes = new Map<string, Shape>();
  for (const name of names) {
    const { texts, numbers } = split(name);
    const key = texts.join('\0');
    const shape = shapes.get(key);
    if (shape) shape.rows.push(numbers);
    else shapes.set(key, { texts, rows: [numbers] });
  }
  return inOrder(shapes.values(), ({ texts }) => texts.join('\0'));
}

/** The patterns that stand for the shape's names, one or more, in the order of their first names. */
export function foldShape({ texts, rows }: Shape): string[] {
  let folded = inOrder(rows, (row) => row.map(sortKeyOf).join(''));
  // From the last number on: nodes are folded before the racks that they stand in.
  for (let place = texts.length - 2; place >= 0; place--) folded = foldPlace(folded, place);
  return folded.map((row) => texts.map((text, i) => text + (row[i] ?? '')).join(''));
}

/** Makes one row of those that differ at this place only. Their order is kept, and so is that of their numbers. */
function foldPlace(rows: string[][], place: number): string[][] {
  if (rows.every((row) => row[place] === rows[0]?.[place])) return rows;
  const groups = new Map<string, { row: string[]; numbers: string[] }>();
  for (const row of rows) {
    const number = row[place] as string;
    const key = row.with(place, '').join('/');
    const group = groups.get(key);
    if (group) group.numbers.push(number);
    else groups.set(key, { row, numbers: [number] });
  }
  return [...groups.values()].map(({ row, numbers }) => row.with(place, foldNumbers(numbers)));
}

function split(name: string): { texts: string[]; numbers: string[] } {
  const texts = [''];
  const numbers: string[] = [];
  // An address in brackets would be read as ranges.
  for (const part of name.startsWith('[') ? [name] : name.split(/(\d+)/)) {
    if (/^\d/.test(part) && part.length <= MAX_DIGITS && numbers.length < MAX_NUMBERS) {
      numbers.push(part);
      texts.push('');
    } else texts[texts.length - 1] += part;
  }
  return { texts, numbers };
}

/** The same on every machine, whatever its language. */
function inOrder<T>(items: Iterable<T>, keyOf: (item: T) => string): T[] {
  const keyed = Array.from(items, (item) => ({ item, key: keyOf(item) }));
  return keyed.sort((a, b) => (a.key < b.key ? -1 : 1)).map(({ item }) => item);
}
