/**
 * Slots: how many requests are under way to an agent at once (`max_requests`), counted in Redis for all
 * processes. A slot is a lease on Redis' clock, so that those of a killed process come back by themselves.
 */
export interface SlotStore {
  /**
   * Takes a slot if one is free. Starts take theirs with the mailbox (`mailbox.ts`).
   * @param holder unique to this request
   * @param leaseMs longer than the request can last
   */
  takeIfFree(host: string, holder: string, options: { max: number; leaseMs: number }): Promise<boolean>;
  release(host: string, holder: string): Promise<void>;
}
