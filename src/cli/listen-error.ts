/** Turns the ways in which a server cannot listen into a line that says what to do. */
import type { Config } from '../config.ts';
import { Failure } from './failure.ts';

/** @param setting what names the address @returns the error itself if it is none of these */
export function describeListenError(
  error: unknown,
  { host, port }: { host: string; port: number },
  setting = '--listen',
): unknown {
  const at = `${host}:${port}`;
  switch ((error as NodeJS.ErrnoException).code) {
    case 'EADDRINUSE':
      return new Failure(
        `${at} is in use: choose another with ${setting}, or stop what listens there (ss -ltnp)`,
      );
    case 'EACCES':
      return new Failure(
        `${at} may not be listened on by this user: choose a port above 1023 with ${setting}`,
      );
    case 'EADDRNOTAVAIL':
      return new Failure(`${at} is no address of this machine: choose another with ${setting}`);
    default:
      return error;
  }
}

/** The same, for the workers' listener. */
export function describeMetricsListenError(error: unknown, config: Pick<Config, 'metricsListen'>): unknown {
  return config.metricsListen === null
    ? error
    : describeListenError(error, config.metricsListen, 'SLUICE_METRICS_LISTEN');
}
