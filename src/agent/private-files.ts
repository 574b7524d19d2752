/**
 * Whether what the agent relies on is in nobody else's hands: as root it runs what is in its data directory, and does
 * whatever the bearer of its token says. Something that somebody else could have put there stops the agent.
 */
import { chmodSync, mkdirSync, statSync } from 'node:fs';

/** Makes the directory if there is none, with exactly this mode whatever the umask is. @throws as `checkHands` does */
export function ensureDirectory(path: string, mode: number): void {
  if (mkdirSync(path, { recursive: true, mode }) !== undefined) chmodSync(path, mode);
  checkHands(path);
}

/** @throws where it is not the agent's own (or root's), or others can write to it */
export function checkHands(path: string): void {
  const { uid, mode } = statSync(path);
  if ((uid !== 0 && uid !== process.geteuid?.()) || (mode & 0o022) !== 0) {
    throw new Error(`${path} must be owned by root or by the agent's own user, and writable by nobody else`);
  }
}

/** @throws where others than the owner and its group can read it, too */
export function checkSecret(path: string): void {
  checkHands(path);
  if ((statSync(path).mode & 0o007) !== 0) throw new Error(`${path} must not be readable by others`);
}
