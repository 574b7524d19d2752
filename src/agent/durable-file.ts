/** A file that is there whole or not at all, even after a power cut: write, fsync, rename. */
import { renameSync, writeFileSync } from 'node:fs';

/** Replaces `path`, mode 0600. */
export function writeFileDurably(path: string, content: string): void {
  writeFileSync(`${path}.new`, content, { mode: 0o600, flush: true });
  renameSync(`${path}.new`, path);
}
