/**
 * Requests to a host that are no starts (questions, cancels, pings, checks, reads of output) in a slot of its
 * `max_requests`, shared with all processes. Starts take theirs with the mailbox.
 */
import { randomUUID } from 'node:crypto';
import { setTimeout as pause } from 'node:timers/promises';
import { SluiceError } from '../../job/errors.ts';
import type { HostConfig } from '../../job/host.ts';
import { LEASE_MS, whileRenewing } from '../leases/renewal.ts';
import type { SlotStore } from '../slots.ts';

const LOOK_MS = 50;

export interface InSlotOptions {
  /** How long a slot is waited for; 0 for not at all. */
  patienceMs: number;
}

/** @throws SluiceError host_busy where no slot came free in time; nothing was sent then */
export type InSlot = <T>(
  host: Pick<HostConfig, 'name' | 'max_requests'>,
  options: InSlotOptions,
  work: () => Promise<T>,
) => Promise<T>;

export function createInSlot({ slots }: { slots: SlotStore }): InSlot {
  return async ({ name, max_requests: max }, { patienceMs }, work) => {
    const holder = randomUUID();
    const end = performance.now() + patienceMs;
    while (!(await slots.takeIfFree(name, holder, { max, leaseMs: LEASE_MS }))) {
      if (performance.now() >= end) {
        throw new SluiceError('host_busy', `all ${max} requests to ${name} are in use`, {
          fields: { retry_after: 2 },
        });
      }
      await pause(LOOK_MS);
    }
    try {
      return await whileRenewing(() => slots.renew(name, holder, LEASE_MS), work);
    } finally {
      // A slot that cannot be given back comes back by its lease; what the work came to must not be lost with it.
      await slots.release(name, holder).catch(() => undefined);
    }
  };
}
