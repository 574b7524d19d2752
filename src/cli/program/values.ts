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

/** `exit,signal` */
export function commaSeparated(text: string): string[] {
  return text.split(',').map((word) => word.trim());
}

/** `50`, `10%` or `2.5%`: a number of hosts, or a share of them. */
export function share(text: string): number | string {
  if (/^\d{1,5}$/.test(text)) return Number(text);
  if (/^\d{1,3}(\.\d{1,3})?%$/.test(text)) return text;
  throw new InvalidArgumentError('It must be a number of hosts, or a percentage like 10%.');
}

/** `1,10%,50%` */
export function shares(text: string): (number | string)[] {
  return commaSeparated(text).map(share);
}

/** Seconds, or the word for "until somebody says so". */
export function secondsOrManual(text: string): number | 'manual' {
  return text === 'manual' ? text : wholeNumber(text);
}

/** `100/60s`, `5/s`, `600/m`: so many in so long. */
export function rate(text: string): { limit: number; period_seconds: number } {
  const [, limit, count = '1', unit] = /^(\d{1,7})\/(\d{1,5})?([smh])$/.exec(text) ?? [];
  if (limit === undefined) throw new InvalidArgumentError('It must be like 100/60s or 5/s.');
  const seconds = { s: 1, m: 60, h: 3_600 }[unit as 's' | 'm' | 'h'];
  return { limit: Number(limit), period_seconds: Number(count) * seconds };
}

/** For settings that can be taken back with the word itself. */
export function orDefault<T>(read: (text: string) => T): (text: string) => T | 'default' {
  return (text) => (text === 'default' ? text : read(text));
}
