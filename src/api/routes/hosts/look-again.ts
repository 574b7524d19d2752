/** Has a host tried at once, after a change that may have mended it: what waits for it need not wait longer. */
import type { FastifyBaseLogger } from 'fastify';
import type { Wake } from '../../../store/queues.ts';

export type LookAgain = (host: string) => void;

export function createLookAgain(deps: {
  wake: Pick<Wake, 'dispatch' | 'follow'>;
  log: Pick<FastifyBaseLogger, 'warn'>;
}): LookAgain {
  return (host) => {
    // Nobody waits for it: where it fails, the host is tried when its pause is over.
    Promise.all([deps.wake.dispatch(host), deps.wake.follow(host)]).catch((error: Error) => {
      deps.log.warn({ event: 'host.wake.failed', host, reason: error.message }, 'left to its own time');
    });
  };
}
