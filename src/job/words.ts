/** Times, durations and counts in sentences for people, as every explanation writes them. Pure. */

/** `2026-11-22T19:00:05Z (in 42 s)` */
export function when(at: number | null, now: number): string {
  if (at === null) return 'some time ago';
  const time = new Date(at).toISOString().replace(/\.\d+Z$/, 'Z');
  const away = duration(Math.abs(at - now));
  return `${time} (${at > now ? `in ${away}` : `${away} ago`})`;
}

export function duration(ms: number): string {
  const seconds = Math.ceil(ms / 1_000);
  if (seconds < 120) return `${seconds} s`;
  if (seconds < 7_200) return `${Math.round(seconds / 60)} min`;
  return seconds < 172_800 ? `${Math.round(seconds / 3_600)} h` : `${Math.round(seconds / 86_400)} days`;
}

export function counted(n: number, what: string): string {
  return `${n} ${what}${n === 1 ? '' : 's'}`;
}

export function joined(...sentences: (string | false)[]): string {
  return sentences.filter(Boolean).join(' ');
}
