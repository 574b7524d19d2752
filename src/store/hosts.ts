/**
 * The hosts: what operators registered, and what is known of each. A host is found by its name, by its address,
 * or by an address pattern of the configuration; anything else is nobody's, because a gateway must not carry a
 * token to an address that a caller made up.
 */
import type { AddressPattern, AgentFacts, HostConfig, HostHealth } from '../job/host.ts';
import type { HostChange } from './feed.ts';
import { createHealthStore, type HostFailure } from './hosts/health.ts';
import type { HostPage, HostPageOrder } from './hosts/list.ts';
import { agentsOf, createResolveMany } from './hosts/many.ts';
import { createPatterns, hostPlace, splitAddress } from './hosts/patterns.ts';
import { createRecall, printOf, type SeenHost } from './hosts/recall.ts';
import { createRegistry, type HostPatch } from './hosts/registry.ts';
import type { Keys } from './keys.ts';
import { results } from './redis/replies.ts';
import type { Redis } from './redis.ts';
import type { Sealer } from './sealing.ts';

export type { HostPatch } from './hosts/registry.ts';

export interface HostStore {
  /**
   * Registers or changes a host.
   * @throws SluiceError address_in_use, token_required (the address changes or `tls` is loosened without the
   *   token), invalid_request (a new host without address or token)
   */
  put(name: string, patch: HostPatch): Promise<{ host: HostConfig; created: boolean }>;
  get(name: string): Promise<HostConfig | null>;
  /** By name, by address, or by a pattern of the configuration. */
  resolve(targetServer: string): Promise<HostConfig | null>;
  /** The same with what a script needs to see that it is still so; `remembered` without asking Redis, perhaps of before. */
  see(targetServer: string): Promise<SeenHost | null>;
  remembered(targetServer: string): SeenHost | null;
  /** The same as `resolve` for many at once; null where it is nobody's. */
  resolveMany(targetServers: readonly string[]): Promise<(HostConfig | null)[]>;
  /** What is known of the agents of these hosts. */
  agentsOf(names: readonly string[]): Promise<(AgentFacts | null)[]>;
  /** Registered hosts by name. */
  list(page: HostPageOrder): Promise<HostPage>;
  /** @throws SluiceError host_has_active_jobs */
  remove(name: string): Promise<boolean>;
  /** Whether a registered host has this `host:port` (webhooks never go there). */
  isAgentAddress(address: string): Promise<boolean>;
  openToken(host: HostConfig): string;

  health(name: string): Promise<HostHealth>;
  /**
   * The host answered; `facts` where it was a `/ping`.
   * @returns true if it had not been known to be up: what waits for it should be looked at
   */
  contacted(name: string, facts?: AgentFacts): Promise<boolean>;
  /**
   * A request failed. Unreachable hosts are `suspect`, then `down`; refused tokens and changed certificates make
   * it `misconfigured` with cause and remedy.
   * @returns when it may be asked again, in ms
   */
  failed(name: string, failure: HostFailure): Promise<number>;
  /** The agent asks for a pause of so many ms (429, 503); no failure. */
  pause(name: string, ms: number): Promise<void>;
  /** The agent takes no new job for so many ms, and says why; jobs that run there are followed and canceled. */
  pauseStarts(name: string, ms: number, why: string): Promise<void>;
  setDraining(name: string, draining: boolean): Promise<void>;
  /** Pins a certificate: on first use if none is pinned yet, or because somebody said so. */
  pin(name: string, fingerprint: string, options: { replace: boolean }): Promise<void>;
  warn(name: string, warning: string): Promise<void>;
  /** How many jobs wait for the host, and how many are being started or under way there. */
  jobCounts(name: string): Promise<{ queued: number; active: number }>;
}

export function createHostStore(deps: {
  redis: Redis;
  keys: Keys;
  sealer: Sealer;
  patterns: readonly AddressPattern[];
  /** This process changed a host's status; for metrics. */
  onHostChange?: (change: HostChange) => void;
}): HostStore {
  const { redis, keys, sealer } = deps;
  const registry = createRegistry(deps);
  const recall = createRecall();
  const { get: health, ...learning } = createHealthStore(deps);
  const admitted = createPatterns(deps.patterns, sealer);

  return {
    ...learning,
    health,
    put: registry.put,
    list: registry.list,
    remove: registry.remove,
    get: async (name) => (await registry.get(name)) ?? admitted(name),
    async resolve(targetServer) {
      const named = await registry.get(targetServer);
      if (named || !splitAddress(targetServer)) return named;
      return (await registry.byAddress(targetServer)) ?? admitted(targetServer);
    },
    resolveMany: createResolveMany({ redis, keys, admitted }),
    agentsOf: (names) => agentsOf(redis, keys, names),
    remembered: recall.remembered,
    async see(targetServer) {
      const named = await registry.read(targetServer);
      if (named) return recall.remember(targetServer, named.host, named.text);
      recall.forget(targetServer);
      if (!splitAddress(targetServer)) return null;
      const name = await registry.nameAt(targetServer);
      const addressed = name === null ? null : await registry.read(name);
      if (addressed) return { host: addressed.host, print: printOf(addressed.text) };
      const host = admitted(targetServer);
      return host && { host, print: null };
    },
    async isAgentAddress(address) {
      return (await redis.exists(keys.hostAddress(address))) === 1;
    },
    openToken: recall.opening((host) => sealer.open(host.sealed_token, hostPlace(host.name))),
    async jobCounts(name) {
      const pipeline = redis.pipeline();
      pipeline.zcard(keys.mailbox(name)).zcard(keys.ready(name)).zcard(keys.activeJobs(name));
      const [later, ready, active] = (await results(pipeline)) as [number, number, number];
      return { queued: later + ready, active };
    },
  };
}
