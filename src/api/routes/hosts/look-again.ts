/** Has a host tried at once, after a change that may have mended it: what waits for it need not wait longer. */
import type { FastifyBaseLogger } from 'fastify';
import type { Followed } from '../../../store/followed.ts';
import type { Wake } from '../../../store/queues.ts';

export type LookAgain = (host: string) => void;

export function createLookAgain(deps: {
  followed: Pick<Followed, 'askAllNow'>;
  wake: Pick<Wake, 'dispatch' | 'follow'>;
  log: Pick<FastifyBaseLogger, 'warn'>;
}): LookAgain {
  return (host) => {
    // Nobody waits for it: where it fails, the host is tried when its pause is over.
    look(host).catch((error: Error) => {
      deps.log.warn({ event: 'host.wake.failed', host, reason: error.message }, 'left to its own time');
    });
  };

  async function look(host: string): Promise<void> {
    // Before the wakes: questions about its running jobs were put off to the end of a pause that is no more.
    await deps.followed.askAllNow(host);
    await Promise.all([deps.wake.dispatch(host), deps.wake.follow(host)]);
  }
}
