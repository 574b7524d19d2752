/**
 * Short leases that are renewed while the work goes on: what a killed process held is free again within
 * seconds, however long the work may take.
 */

/** The lifetime of a lease, in ms. */
export const LEASE_MS = 6_000;
const RENEW_MS = 2_000;

/** Does `work` and calls `renew` now and then until it is done. A failed renewal is tried again at the next turn. */
export async function whileRenewing<T>(renew: () => Promise<unknown>, work: () => Promise<T>): Promise<T> {
  const renewal = setInterval(() => {
    renew().catch(() => undefined);
  }, RENEW_MS);
  try {
    return await work();
  } finally {
    clearInterval(renewal);
  }
}
