/**
 * Held requests: where the agent can, one `POST /status` per host is held until something changes there, in
 * place of asking again and again. Each worker holds at most `limit` hosts, those whose following began last
 * first; all others are asked by interval, and so is a host whose held request fails.
 *
 * A held request takes no slot of `max_requests`: it costs the agent nothing while nothing happens.
 */
import { setTimeout as pause } from 'node:timers/promises';
import type { Logger } from 'pino';
import type { Feed } from '../store/feed.ts';
import type { Followed } from '../store/followed.ts';
import { LEASE_MS, whileRenewing } from '../store/leases/renewal.ts';
import { holdLease, type Leases } from '../store/leases.ts';
import type { Wake } from '../store/queues.ts';
import type { Held } from './hold/request.ts';

/** A held request is given up for another host's after so long at the earliest, so that many starts cannot make all of them change hands. */
const LEAST_MS = 30_000;
/** How often hosts are looked for that nobody holds. */
const LOOK_MS = 5_000;
/** Between two hosts that are found so: the first question to each is about all of its jobs, and not all come at once. */
const APART_MS = 10;

export interface Holds {
  /** A job came under way on this host: hold a request there if nobody does, and there is room. */
  want(host: string): void;
  /** How many hosts are held by this process. */
  size(): number;
  close(): Promise<void>;
}

export function createHolds(deps: {
  followed: Pick<Followed, 'hosts'>;
  leases: Leases;
  feed: Pick<Feed, 'onChange'>;
  wake: Pick<Wake, 'follow'>;
  /** Holds requests at a host until there is nothing to hold; see `hold/request.ts`. */
  hold: Held;
  limit: number;
  owner: string;
  log: Logger;
}): Holds {
  const { followed, leases, feed, wake, hold, limit, owner, log } = deps;
  /** In the order of their beginnings. */
  const held = new Map<
    string,
    { since: number; renew: () => void; stop: AbortController; done: Promise<void> }
  >();
  let closed = false;
  let looking: Promise<void> | null = null;
  const look = setInterval(() => {
    looking ??= lookForHosts().finally(() => {
      looking = null;
    });
  }, LOOK_MS);
  // From the feed, because the job may have been started by another process than the one that holds.
  const unlisten = feed.onChange(({ host, state }) => {
    if (state === 'running') held.get(host)?.renew();
  });

  function want(host: string): void {
    if (closed || limit === 0) return;
    if (held.has(host)) return;
    if (held.size >= limit) {
      const [longest] = held.values();
      if (!longest || performance.now() - longest.since < LEAST_MS) return;
      longest.stop.abort();
    }
    const stop = new AbortController();
    let renew: () => void = () => undefined;
    const onRenew = (listener: () => void) => {
      renew = listener;
    };
    const done = holdHost(host, stop.signal, onRenew).finally(() => held.delete(host));
    held.set(host, { since: performance.now(), renew: () => renew(), stop, done });
  }

  async function holdHost(host: string, stop: AbortSignal, onRenew: (listener: () => void) => void) {
    const lease = holdLease(host);
    try {
      if (!(await leases.claim(lease, owner, LEASE_MS))) return;
      let asked = true;
      try {
        asked = await whileRenewing(
          () => leases.claim(lease, owner, LEASE_MS),
          () => hold(host, stop, onRenew),
        );
      } finally {
        await leases.releaseIfHeldBy(lease, owner);
        // From here on the host is asked by interval again, beginning now.
        if (asked) await wake.follow(host);
      }
    } catch (error) {
      log.warn({ host, err: error }, 'hold.failed');
    }
  }

  async function lookForHosts(): Promise<void> {
    try {
      if (held.size >= limit) return;
      const hosts = (await followed.hosts(limit)).filter((host) => !held.has(host));
      const free = await leases.unclaimed(hosts.map(holdLease));
      for (const [i, host] of hosts.entries()) {
        if (closed || held.size >= limit) return;
        if (!free[i]) continue;
        want(host);
        await pause(APART_MS);
      }
    } catch (error) {
      log.warn({ err: error }, 'hold.look_failed');
    }
  }

  return {
    want,
    size: () => held.size,
    async close() {
      closed = true;
      unlisten();
      clearInterval(look);
      await looking;
      for (const { stop } of held.values()) stop.abort();
      await Promise.all([...held.values()].map(({ done }) => done));
    },
  };
}
