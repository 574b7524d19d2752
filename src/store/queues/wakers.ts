/**
 * What a move leaves for others to do: they are woken, and nobody waits for that. Where it fails, the sweep finds what is
 * to be done.
 */
import type { Logger } from 'pino';
import type { Wake } from '../queues.ts';

export function createWakers({ wake, log }: { wake: Wake; log: Logger }) {
  return {
    /** Something came into the outbox. */
    onTold(): void {
      wake.deliver().catch((err: unknown) => log.warn({ err }, 'deliver.not_woken'));
    },
    /** A host has room for a job that waits for it. */
    onFreed(host: string): void {
      wake.dispatch(host).catch((err: unknown) => log.warn({ host, err }, 'dispatch.not_woken'));
    },
    /** A batch can go on. */
    onBatchDue(batch: string): void {
      wake.batch(batch).catch((err: unknown) => log.warn({ batch, err }, 'batch.not_woken'));
    },
  };
}
