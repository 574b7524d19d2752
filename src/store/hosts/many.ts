/** Thousands of hosts at once, for batches: the same answers as one by one, in a few round trips. */
import type { AgentFacts, HostConfig } from '../../job/host.ts';
import type { Keys } from '../keys.ts';
import { results } from '../redis/replies.ts';
import type { Redis } from '../redis.ts';
import { splitAddress } from './patterns.ts';
import { healthIn, hostIn } from './record.ts';

/** Records in one command: some ms in which Redis does nothing else. */
const AT_ONCE = 500;

/** @param deps.admitted the host that an address pattern makes of an address; null for none */
export function createResolveMany(deps: {
  redis: Redis;
  keys: Keys;
  admitted: (address: string) => HostConfig | null;
}) {
  const { redis, keys, admitted } = deps;

  return async (targetServers: readonly string[]): Promise<(HostConfig | null)[]> => {
    const found = await named(targetServers);
    const addresses = targetServers.filter((target, i) => found[i] === null && splitAddress(target) !== null);
    const byAddress = new Map<string, HostConfig | null>();
    const names = await read(addresses.map((address) => keys.hostAddress(address)));
    const hosts = await named(names.map((name) => name ?? ''));
    for (const [i, address] of addresses.entries()) byAddress.set(address, hosts[i] ?? admitted(address));
    return targetServers.map((target, i) => found[i] ?? byAddress.get(target) ?? null);
  };

  async function named(names: readonly string[]): Promise<(HostConfig | null)[]> {
    const texts = await read(names.map((name) => keys.host(name)));
    return texts.map((text) => (text === null ? null : hostIn(text)));
  }

  async function read(names: string[]): Promise<(string | null)[]> {
    const texts: (string | null)[] = [];
    for (let from = 0; from < names.length; from += AT_ONCE) {
      texts.push(...(await redis.mget(names.slice(from, from + AT_ONCE))));
    }
    return texts;
  }
}

export async function agentsOf(
  redis: Redis,
  keys: Keys,
  names: readonly string[],
): Promise<(AgentFacts | null)[]> {
  const agents: (AgentFacts | null)[] = [];
  for (let from = 0; from < names.length; from += AT_ONCE) {
    const pipeline = redis.pipeline();
    for (const name of names.slice(from, from + AT_ONCE)) pipeline.hget(keys.hostHealth(name), 'agent');
    const texts = (await results(pipeline)) as (string | null)[];
    agents.push(...texts.map((agent) => (agent === null ? null : healthIn({ agent }).agent)));
  }
  return agents;
}
