/** `NAME=value` options as an object. */
import { Failure } from './failure.ts';

export function pairs(texts: string[]): Record<string, string> {
  const entries = texts.map((text) => {
    const cut = text.indexOf('=');
    if (cut < 1) throw new Failure(`${text} is not NAME=VALUE`);
    return [text.slice(0, cut), text.slice(cut + 1)];
  });
  return Object.fromEntries(entries);
}
