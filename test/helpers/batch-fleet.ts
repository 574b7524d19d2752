/**
 * Workers of this process and a fleet of simulated agents over plain HTTP that they know already, for batches: what a
 * batch came to is read from its record, from the stream of changes, and from what the agents counted.
 */
import { HOST_GROUPS } from '../../src/store/hosts/health.ts';
import { startRedis } from './redis.ts';
import { type FleetOptions, type Start, startSimulatedAgents } from './simulated-agents.ts';
import { openStores } from './stores.ts';
import { startTestWorkers } from './workers.ts';

export type BatchFleet = Awaited<ReturnType<typeof startBatchFleet>>;

/** @param options.refusing so many more hosts at whose addresses nobody listens */
export async function startBatchFleet({ refusing = 0, ...options }: FleetOptions & { refusing?: number }) {
  const redis = await startRedis();
  const fleet = await startSimulatedAgents({ tls: false, ...options });
  const stores = await openStores(redis.url);
  const workers = await startTestWorkers(redis.url, stores);
  const names = fleet.hosts.map(({ name }) => name);
  const refusers = Array.from({ length: refusing }, (_, i) => `refuser-${i}`);
  const token = fleet.hosts[0]!.token;
  await Promise.all([
    ...names.map((name, i) => stores.hosts.put(name, fleet.registration(i))),
    // One address is one host.
    ...refusers.map((name, i) =>
      stores.hosts.put(name, {
        address: `127.0.${8 + (i >> 8)}.${i & 255}:9`,
        token,
        tls: { dangerously_off: true },
      }),
    ),
  ]);
  await ping();

  /** As if each had been pinged just now: a batch sends its starts without asking who is there. */
  async function ping(): Promise<void> {
    const facts = { kind: 'full', protocol: 2, version: null, boot_id: null, users: null } as const;
    const capabilities = ['idempotent_run', 'batch_status', 'status_wait', 'timeout'];
    await Promise.all(
      fleet.hosts.map(({ name, address }) =>
        stores.hosts.contacted(name, {
          ...facts,
          ...{ capabilities, store_id: `store-${address}`, clock_skew_ms: 0, at: Date.now() },
        }),
      ),
    );
  }

  return {
    redis,
    fleet,
    stores,
    names,
    refusers,
    ping,
    /** Every change that was told, in its order. */
    async changes(): Promise<Record<string, string>[]> {
      const entries = await stores.redis.xrange(stores.keys.events, '-', '+');
      return entries.map(([, flat]) =>
        Object.fromEntries(flat.flatMap((name, i) => (i % 2 === 0 ? [[name, flat[i + 1] ?? '']] : []))),
      );
    },
    /** Forgets jobs, batches and what is known of hosts' health; hosts stay registered. */
    async forgetHealth(): Promise<void> {
      for (const name of [...names, ...refusers]) await stores.redis.del(stores.keys.hostHealth(name));
      for (const group of HOST_GROUPS) await stores.redis.del(stores.keys.hostsIn(group));
      await ping();
    },
    async stop(): Promise<void> {
      await workers.close();
      await fleet.stop();
      await stores.close();
      await redis.stop();
    },
  };
}

/** The most of these that were under way at once, if each lasted so long from its start. */
export function mostAtOnce(starts: readonly Start[], lastedMs: number): number {
  const changes = starts.flatMap(({ at }) => [
    { at, by: 1 },
    { at: at + lastedMs, by: -1 },
  ]);
  let now = 0;
  let most = 0;
  for (const { by } of changes.sort((a, b) => a.at - b.at || a.by - b.by)) {
    now += by;
    most = Math.max(most, now);
  }
  return most;
}
