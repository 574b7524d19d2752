/**
 * The BullMQ queues. Their jobs are thin wake-ups that carry a host's name or nothing: the records are the
 * truth, so a wake-up may come twice, late, or never (the sweep then brings it).
 */
export interface Wake {
  /** Somebody should drain this host's mailbox. */
  dispatch(host: string): Promise<void>;
  /** Somebody should ask this host now (a new job to follow, a cancel to deliver). */
  follow(host: string): Promise<void>;
  /** Something is in the outbox. */
  deliver(): Promise<void>;
}
