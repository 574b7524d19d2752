/**
 * Reads folded host names: `web[001-120],db[1,3]` are two patterns, each of text and ranges in turn. What cannot be
 * read is named as it stands there, with what is wrong with it.
 */
import { hasLeadingZero, MAX_DIGITS, type Range, sizeOf } from './ranges.ts';

/** Text, or the ranges of one pair of brackets. */
export type Pattern = readonly (string | readonly Range[])[];

/** Names that cannot be read, or too many. The message is for whoever wrote them. */
export class HostNamesError extends Error {
  /** Which of the texts it is about, from 0; missing where it is about all of them. */
  readonly index: number | undefined;

  constructor(message: string, index?: number) {
    super(message);
    this.name = 'HostNamesError';
    this.index = index;
  }
}

const MAX_NAME_LENGTH = 253;
const ADDRESS = /^\[[0-9A-Za-z.%]*:[0-9A-Za-z:.%]*\]:\d{1,5}$/;
/** So much of a text is repeated in an error. */
const SHOWN_LENGTH = 80;

/** @throws HostNamesError */
export function parsePatterns(text: string, index: number): Pattern[] {
  return splitNames(text).map((name) => {
    const fail = (problem: string) => new HostNamesError(`${shown(name)}: ${problem}`, index);
    if (name === '')
      throw new HostNamesError(`${shown(text) || 'the text is empty'}: a name is missing`, index);
    // Numbers have no colons: whatever has one in its brackets is an address.
    if (ADDRESS.test(name)) return [name];
    const pattern = name
      .split(/(\[[^\]]*\])/)
      .map((part, i) => (i % 2 === 0 ? parseText(part, fail) : parseRanges(part.slice(1, -1), fail)));
    if (longestOf(pattern) > MAX_NAME_LENGTH) throw fail(`a name has at most ${MAX_NAME_LENGTH} characters`);
    return pattern;
  });
}

export function countOf(pattern: Pattern): number {
  return pattern.reduce((count, part) => count * (typeof part === 'string' ? 1 : total(part)), 1);
}

type Fail = (problem: string) => HostNamesError;

/** At the commas that stand outside of brackets. */
function splitNames(text: string): string[] {
  const names: string[] = [];
  let start = 0;
  let inBrackets = false;
  for (let i = 0; i < text.length; i++) {
    if (text[i] === '[') inBrackets = true;
    else if (text[i] === ']') inBrackets = false;
    else if (text[i] === ',' && !inBrackets) {
      names.push(text.slice(start, i).trim());
      start = i + 1;
    }
  }
  return [...names, text.slice(start).trim()];
}

function parseText(text: string, fail: Fail): string {
  if (text.includes('[')) throw fail('the bracket is not closed');
  if (text.includes(']')) throw fail('a closing bracket without an opening one');
  const [wrong] = /[^A-Za-z0-9._:-]/u.exec(text) ?? [];
  if (wrong !== undefined) {
    throw fail(`a name cannot contain ${JSON.stringify(wrong)}, only A-Z, a-z, 0-9 and . _ : -`);
  }
  return text;
}

function parseRanges(text: string, fail: Fail): Range[] {
  if (text.trim() === '') throw fail('nothing stands in the brackets');
  return text.split(',').map((one) => parseRange(one.trim(), fail));
}

function parseRange(text: string, fail: Fail): Range {
  if (text === '') throw fail('a number is missing beside a comma');
  if (/^\d+-\d+\/\d+$/.test(text)) throw fail(`${text} has a step, and steps are not known here`);
  const [, from, to = from] = /^(\d+)(?:-(\d+))?$/.exec(text) ?? [];
  if (from === undefined || to === undefined) {
    throw fail(`${shown(text)} is neither a number nor a range like 1-9`);
  }
  if (Math.max(from.length, to.length) > MAX_DIGITS) {
    throw fail(`a number has at most ${MAX_DIGITS} digits`);
  }
  if (from.length !== to.length && (hasLeadingZero(from) || hasLeadingZero(to))) {
    throw fail(`${text} mixes widths: with leading zeros, both ends have as many digits`);
  }
  if (Number(from) > Number(to)) throw fail(`${text} runs backwards`);
  return { from, to };
}

function longestOf(pattern: Pattern): number {
  const lengths = pattern.map((part) =>
    typeof part === 'string' ? part.length : part.reduce((most, { to }) => Math.max(most, to.length), 0),
  );
  return lengths.reduce((sum, length) => sum + length, 0);
}

function total(ranges: readonly Range[]): number {
  return ranges.reduce((sum, range) => sum + sizeOf(range), 0);
}

function shown(text: string): string {
  return text.length > SHOWN_LENGTH ? `${text.slice(0, SHOWN_LENGTH)}…` : text;
}
