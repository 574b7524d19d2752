/**
 * One agent per data directory: two would both start what was accepted and not started. The lock names its holder as
 * a process, so that the lock of a killed agent, or of an earlier boot, holds nobody up.
 */
import { readFileSync, rmSync, unlinkSync, writeFileSync } from 'node:fs';
import { isAlive, parseIdentity, startTicks } from './processes.ts';

/** @returns a function that gives it back. @throws where another agent that lives has it */
export function takeLock(file: string, bootId: string): () => void {
  const mine = `${process.pid} ${startTicks(process.pid)} ${bootId}\n`;
  for (;;) {
    try {
      writeFileSync(file, mine, { flag: 'wx', mode: 0o600 });
      return () => rmSync(file, { force: true });
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'EEXIST') throw error;
    }
    const holder = parseIdentity(readFileSync(file, 'utf8'));
    if (holder && isAlive(holder, bootId)) {
      throw new Error(`the data directory is in use by the agent with process id ${holder.pid}`);
    }
    unlinkIfThere(file);
  }
}

/** Another one that starts may have taken it away. */
function unlinkIfThere(file: string): void {
  try {
    unlinkSync(file);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw error;
  }
}
