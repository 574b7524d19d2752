/** Is this process alive? A zombie is dead: who reaps it is nobody's business here. */
import { readFileSync } from 'node:fs';

export function isAlive(pid: number): boolean {
  try {
    return !/\) [ZX] /.test(readFileSync(`/proc/${pid}/stat`, 'latin1'));
  } catch {
    return false;
  }
}
