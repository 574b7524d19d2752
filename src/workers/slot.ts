/**
 * Requests to a host that are no starts (questions, cancels, pings, reads of output) in a slot of its
 * `max_requests`, shared with all processes. Starts take theirs with the mailbox.
 */
import { randomUUID } from 'node:crypto';
import { SluiceError } from '../job/errors.ts';
import type { SlotStore } from '../store/slots.ts';
import type { Target } from './contact.ts';
import { LEASE_MS, whileRenewing } from './renewal.ts';

const LOOK_MS = 50;

export interface InSlotOptions {
  /** How long a slot is waited for; 0 for not at all. */
  patienceMs: number;
}

/** @throws SluiceError host_busy where no slot came free in time; nothing was sent then */
export type InSlot = <T>(target: Target, options: InSlotOptions, work: () => Promise<T>) => Promise<T>;

export function createInSlot({ slots }: { slots: SlotStore }): InSlot {
  return async (target, { patienceMs }, work) => {
    const holder = randomUUID();
    const { name, config } = target;
    const end = performance.now() + patienceMs;
    while (!(await slots.takeIfFree(name, holder, { max: config.max_requests, leaseMs: LEASE_MS }))) {
      if (performance.now() >= end)
        throw new SluiceError('host_busy', `all requests of ${name} are under way`);
      await new Promise((resolve) => setTimeout(resolve, LOOK_MS));
    }
    try {
      return await whileRenewing(() => slots.renew(name, holder, LEASE_MS), work);
    } finally {
      await slots.release(name, holder);
    }
  };
}
