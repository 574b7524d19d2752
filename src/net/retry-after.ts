/** `Retry-After` (RFC 9110): how long a server asks to wait. How much of that is believed is each caller's matter. */

/** In ms from `now`: of seconds, or of a date; null where it is neither. */
export function retryAfterMs(header: string | string[] | undefined, now: number): number | null {
  if (typeof header !== 'string') return null;
  if (/^\d{1,9}$/.test(header)) return Number(header) * 1000;
  const date = Date.parse(header);
  return Number.isNaN(date) ? null : Math.max(0, date - now);
}
