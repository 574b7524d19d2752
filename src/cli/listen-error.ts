/** Turns the ways in which a server cannot listen into a line that says what to do. */
import { Failure } from './failure.ts';

/** @returns the error itself if it is none of these */
export function describeListenError(error: unknown, { host, port }: { host: string; port: number }): unknown {
  const at = `${host}:${port}`;
  switch ((error as NodeJS.ErrnoException).code) {
    case 'EADDRINUSE':
      return new Failure(
        `${at} is in use: choose another with --listen, or stop what listens there (ss -ltnp)`,
      );
    case 'EACCES':
      return new Failure(`${at} may not be listened on by this user: choose a port above 1023 with --listen`);
    case 'EADDRNOTAVAIL':
      return new Failure(`${at} is no address of this machine: choose another with --listen`);
    default:
      return error;
  }
}
