/** Shares of a batch: `"10%"` of its targets as a number. Sizes round up, limits round down. Pure. */

/** A number of hosts, or a share of all of them such as `"10%"`. */
export type Share = number | string;

/** `"10%"`, `"2.5%"`. */
export const SHARE = /^(?:100(?:\.0{1,3})?|[0-9]{1,2}(?:\.[0-9]{1,3})?)%$/;

/** Of a wave, or of what may be under way: at least one. */
export function sizeOf(share: Share, total: number): number {
  return Math.max(1, typeof share === 'number' ? share : Math.ceil(exact(share, total)));
}

/** Of what may fail: none is a limit, too. */
export function limitOf(share: Share, total: number): number {
  return typeof share === 'number' ? share : Math.floor(exact(share, total));
}

/** In thousandths, because 0.07 * 100 is more than 7 in binary. */
function exact(share: string, total: number): number {
  return (Math.round(Number(share.slice(0, -1)) * 1_000) * total) / 100_000;
}
