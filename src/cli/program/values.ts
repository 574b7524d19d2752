/** How option values are read. */
import { InvalidArgumentError } from 'commander';

export function wholeNumber(text: string): number {
  if (!/^\d{1,9}$/.test(text)) throw new InvalidArgumentError('It must be a whole number.');
  return Number(text);
}

/** For options that can be repeated. */
export function collect(value: string, before: string[]): string[] {
  return [...before, value];
}
