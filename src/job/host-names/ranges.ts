/**
 * Numbers in host names and ranges of them: `098`, `[098-102]`, `[1,3,7-9]`. A number is its digits: `7` and `07` are
 * two, and a range keeps the width that its bounds have.
 */

export interface Range {
  /** Digits; `to` is as long as `from` where one of them has leading zeros. */
  from: string;
  to: string;
}

/** Numbers stay exact up to here. */
export const MAX_DIGITS = 15;

export function sizeOf({ from, to }: Range): number {
  return Number(to) - Number(from) + 1;
}

export function* numbersOf({ from, to }: Range): Generator<string> {
  for (let value = Number(from); value <= Number(to); value++) yield `${value}`.padStart(from.length, '0');
}

/** `01`, `007`, but not `0`. */
export function hasLeadingZero(digits: string): boolean {
  return digits.length > 1 && digits.startsWith('0');
}

/** What sorts numbers by their value, those of one value by their width. */
export function sortKeyOf(digits: string): string {
  return digits.padStart(MAX_DIGITS, '0') + digits.length.toString(16);
}

/**
 * @param numbers ascending, each once
 * @returns `7` for one, else `[1,3,7-9]`
 */
export function foldNumbers(numbers: readonly string[]): string {
  if (numbers.length === 1) return numbers[0] as string;
  const ranges = rangesOf(numbers).map(({ from, to }) => (from === to ? from : `${from}-${to}`));
  return `[${ranges.join(',')}]`;
}

/** Numbers go on with those of their width where one of that width has leading zeros (`09`, `10`), else with any. */
function rangesOf(numbers: readonly string[]): Range[] {
  const fixedWidths = new Set(numbers.filter(hasLeadingZero).map((digits) => digits.length));
  const latest = new Map<number, Range>();
  const ranges: Range[] = [];
  for (const digits of numbers) {
    const width = fixedWidths.has(digits.length) ? digits.length : 0;
    const range = latest.get(width);
    if (range && Number(range.to) + 1 === Number(digits)) {
      range.to = digits;
      continue;
    }
    const next = { from: digits, to: digits };
    latest.set(width, next);
    ranges.push(next);
  }
  return ranges;
}
