/**
 * `Prefer` (RFC 7240): `wait=N` and `respond-async`. Preferences that are not known or make no sense are
 * ignored, as the RFC wants it; what was honoured is told in `Preference-Applied`.
 */

/** The longest that a request is held, in seconds: below the idle limits of common load balancers. */
export const MAX_WAIT_SECONDS = 60;

export interface Preferences {
  /** How long to hold the reply, in seconds; 0: not at all. */
  waitSeconds: number;
  /** For `Preference-Applied`; null if nothing applies. */
  applied: string | null;
}

export function parsePrefer(header: string | string[] | undefined): Preferences {
  const preferences = [header ?? []]
    .flat()
    .join(',')
    .split(',')
    .map((part) => part.split(';', 1)[0]?.trim().toLowerCase() ?? '');
  const applied: string[] = [];
  if (preferences.includes('respond-async')) applied.push('respond-async');
  // The first of several counts (RFC 7240, section 2).
  const asked = preferences.map((one) => /^wait\s*=\s*"?(\d{1,9})"?$/.exec(one)?.[1]).find(Boolean);
  const waitSeconds = Math.min(Number(asked ?? 0), MAX_WAIT_SECONDS);
  if (asked !== undefined) applied.push(`wait=${waitSeconds}`);
  return { waitSeconds, applied: applied.join(', ') || null };
}
