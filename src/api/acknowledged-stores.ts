/**
 * The stores as the API uses them: what it writes for a caller is acknowledged (`store/redis/acknowledging.ts`) before the
 * caller is answered, where the operator asked for replicas. Everything else is read over the connection of the reads,
 * which no wait for replicas holds up. Without replicas the stores are what they are: nothing is paid.
 */

import type { BatchStore } from '../store/batches.ts';
import type { DeliveryStore } from '../store/deliveries.ts';
import type { HostStore } from '../store/hosts.ts';
import type { Cancel } from '../store/jobs/cancel.ts';
import type { JobStore } from '../store/jobs.ts';
import type { Acknowledged } from '../store/redis/acknowledging.ts';
import { acknowledging } from '../store/redis/acknowledging.ts';
import type { EndpointStore } from '../store/webhooks.ts';

export interface Stores {
  jobs: JobStore;
  batches: BatchStore;
  hosts: HostStore;
  endpoints: EndpointStore;
  deliveries: DeliveryStore;
  cancelJob: Cancel;
}

/**
 * @param reads over the connection of the reads
 * @param writes the same stores over the connection whose writes `acknowledged` waits for
 */
export function acknowledgedStores(reads: Stores, writes: Stores, acknowledged: Acknowledged): Stores {
  const jobs = acknowledging(writes.jobs, ['accept', 'findAccepted', 'adopt', 'findAdopted'], acknowledged);
  const batches = acknowledging(writes.batches, ['accept', 'attach', 'findAccepted', 'order'], acknowledged);
  const hosts = acknowledging(writes.hosts, ['put', 'remove', 'setDraining', 'pin'], acknowledged);
  const { create, patch, rotateSecret, remove } = acknowledging(
    writes.endpoints,
    ['create', 'patch', 'rotateSecret', 'remove'],
    acknowledged,
  );
  return {
    jobs: {
      ...reads.jobs,
      accept: jobs.accept,
      // Told of nothing there is nothing to wait for; what is told again must be there as what is told first.
      findAccepted: async (...given) =>
        (await reads.jobs.findAccepted(...given)) && jobs.findAccepted(...given),
      adopt: jobs.adopt,
      findAdopted: async (...given) => (await reads.jobs.findAdopted(...given)) && jobs.findAdopted(...given),
    },
    batches: {
      ...reads.batches,
      ...{ accept: batches.accept, attach: batches.attach, order: batches.order },
      findAccepted: async (...given) =>
        (await reads.batches.findAccepted(...given)) && batches.findAccepted(...given),
    },
    hosts: {
      ...reads.hosts,
      ...{ put: hosts.put, remove: hosts.remove, setDraining: hosts.setDraining, pin: hosts.pin },
    },
    endpoints: { ...reads.endpoints, create, patch, rotateSecret, remove },
    deliveries: {
      ...reads.deliveries,
      redeliver: (delivery) => acknowledged(() => writes.deliveries.redeliver(delivery)),
    },
    cancelJob: (...given) => acknowledged(() => writes.cancelJob(...given)),
  };
}
