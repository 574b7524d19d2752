/**
 * Deletes a job's directory, whose user may be changing it at this very moment.
 *
 * `rm` walks by descriptors and follows no symbolic link. Node's own deletion walks by path: a directory that becomes
 * a link between two of its steps would have root delete what the link names. Nor does `rm` have a limit of depth, and
 * it leaves alone what is mounted inside.
 */
import { execFile } from 'node:child_process';
import { promisify } from 'node:util';

const execute = promisify(execFile);

/** @throws where something is left; the message says what */
export async function deleteTree(path: string): Promise<void> {
  await execute('rm', ['-rf', '--one-file-system', '--', path]);
}
