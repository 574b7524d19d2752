/** How `--max-output` is written. */

const UNITS: Record<string, number> = { '': 1, K: 1024, M: 1024 ** 2, G: 1024 ** 3 };
const LEAST = 64 * 1024;

/** `512M`, `4G`, a number of bytes, or `0` for no limit. @throws where it is none of these, or too little to be of use */
export function parseOutputLimit(text: string): number {
  const [, digits, unit = ''] = /^(\d{1,12})([KMG]?)$/.exec(text) ?? [];
  const bytes = Number(digits) * UNITS[unit]!;
  if (bytes === 0 || bytes >= LEAST) return bytes;
  throw new Error(
    `--max-output takes a size such as 512M or 4G (at least 64K), or 0 for no limit, not ${text}`,
  );
}
