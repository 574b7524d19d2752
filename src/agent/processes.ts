/**
 * Is a recorded process still the same one? A process is (pid, start time in ticks, boot id), because a pid alone
 * may be somebody else's by now. A zombie is dead. This half of the agent only looks: signals are the supervisor's.
 */
import { readFileSync } from 'node:fs';

export const BOOT_ID_FILE = '/proc/sys/kernel/random/boot_id';

/** USER_HZ: what Linux tells times in, on every architecture that Node runs on. */
const TICKS_PER_SECOND = 100;

export interface ProcessIdentity {
  pid: number;
  startTicks: string;
  bootId: string;
}

export function readBootId(file: string = BOOT_ID_FILE): string {
  return readFileSync(file, 'utf8').trim();
}

/** Parses the `pid start boot` line that a supervisor writes; null where it is torn. */
export function parseIdentity(line: string): ProcessIdentity | null {
  const match = /^(\d+) (\d+) (\S+)\n$/.exec(line);
  if (!match) return null;
  return { pid: Number(match[1]), startTicks: match[2]!, bootId: match[3]! };
}

export function isAlive(identity: ProcessIdentity, bootId: string): boolean {
  return identity.bootId === bootId && identity.pid > 1 && startTicks(identity.pid) === identity.startTicks;
}

/** For how long it has been running, by the kernel's clock, which nobody sets. */
export function ageSeconds(identity: ProcessIdentity): number {
  return (
    Number(readFileSync('/proc/uptime', 'utf8').split(' ')[0]) -
    Number(identity.startTicks) / TICKS_PER_SECOND
  );
}

/** The start time of a live process, in ticks since boot; null when there is none or it is a zombie. */
export function startTicks(pid: number): string | null {
  let stat: string;
  try {
    stat = readFileSync(`/proc/${pid}/stat`, 'utf8');
  } catch {
    return null;
  }
  // The name, in parentheses, may itself hold parentheses, spaces and newlines: fields count from the last one.
  const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
  return fields[0] === 'Z' || fields[0] === 'X' ? null : (fields[19] ?? null);
}
