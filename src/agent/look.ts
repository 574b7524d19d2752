/**
 * What is at a path that a request names. Looked at by another process with a limit of time: the path may be on a
 * share whose server does not answer, and this process, waiting in the kernel, would answer nobody any more.
 */
import { execFile } from 'node:child_process';

const LOOK_MS = 3000;
/** PATH_MAX: nothing can be at a longer one. */
const MAX_PATH_BYTES = 4095;

/** `unknown`: it cannot be told from here, but perhaps by the job's user at the start. */
export type Found = 'directory' | 'program' | 'other' | 'nothing' | 'unknown';

export function lookAt(path: string): Promise<Found> {
  if (Buffer.byteLength(path) > MAX_PATH_BYTES) return Promise.resolve('nothing');
  return new Promise((resolve) => {
    // A process that waits for a file system may not even be killed: it is not waited for.
    const tooLate = setTimeout(() => resolve('unknown'), LOOK_MS);
    const options = {
      env: { PATH: '/usr/bin:/bin', LC_ALL: 'C' },
      timeout: LOOK_MS,
      killSignal: 'SIGKILL',
    } as const;
    execFile('stat', ['-L', '-c', '%F %a', '--', path], options, (error, stdout, stderr) => {
      clearTimeout(tooLate);
      if (error) resolve(error.killed || stderr.includes('Permission denied') ? 'unknown' : 'nothing');
      else resolve(kindOf(stdout));
    });
  });
}

function kindOf(said: string): Found {
  if (said.startsWith('directory ')) return 'directory';
  return /^regular .*[1357]\d*\n$/.test(said) ? 'program' : 'other';
}
