/**
 * Address patterns: which unregistered addresses may be used, by network and port (`192.168.120.0/24:18443`).
 * They come from the configuration only; no request can add one.
 */
import { BlockList, isIP } from 'node:net';
import type { AddressPattern, HostConfig, HostTls } from '../../job/host.ts';
import type { Sealer } from '../sealing.ts';

export const DEFAULT_TLS: HostTls = { pin: 'first_use' };
export const DEFAULT_MAX_REQUESTS = 4;

/** @returns what an address is admitted as; null if no pattern admits it. The first pattern that matches wins. */
export function createPatterns(patterns: readonly AddressPattern[], sealer: Sealer) {
  const compiled = patterns.map((pattern) => ({ pattern, admits: compile(pattern.match) }));
  return (address: string): HostConfig | null => {
    const found = compiled.find(({ admits }) => admits(address))?.pattern;
    if (!found) return null;
    return {
      name: address,
      address,
      sealed_token: sealer.seal(found.token, hostPlace(address)),
      tls: found.tls ?? DEFAULT_TLS,
      max_requests: found.max_requests ?? DEFAULT_MAX_REQUESTS,
      rate: found.rate ?? null,
      max_jobs: found.max_jobs ?? null,
      labels: found.labels ?? {},
      allowed_users: found.allowed_users ?? null,
      launcher: found.launcher ?? true,
      registered: false,
    };
  };
}

/** Where a host's token belongs, for the sealer. */
export function hostPlace(name: string): string {
  return `host:${name}`;
}

/** Parses a pattern; throws a RangeError that says what is wrong with it. */
export function compile(match: string): (address: string) => boolean {
  const parts = /^(?:\[([0-9a-fA-F:.]+)\]|([0-9.]+))(?:\/(\d{1,3}))?:(\d{1,5})$/.exec(match);
  const network = parts?.[1] ?? parts?.[2] ?? '';
  const family = isIP(network);
  if (!parts || family === 0) throw new RangeError(`${match} is not network/bits:port`);
  const type = family === 4 ? 'ipv4' : 'ipv6';
  const bits = Number(parts[3] ?? (family === 4 ? 32 : 128));
  const list = new BlockList();
  list.addSubnet(network, bits, type);
  return (address) => {
    const split = splitAddress(address);
    if (!split || split.port !== Number(parts[4]) || isIP(split.host) !== family) return false;
    return list.check(split.host, type);
  };
}

/** Splits `host:port` and `[IPv6]:port`; null if it is neither. */
export function splitAddress(address: string): { host: string; port: number } | null {
  const parts = /^(?:\[([0-9a-fA-F:.]+)\]|([A-Za-z0-9._-]+)):(\d{1,5})$/.exec(address);
  const host = parts?.[1] ?? parts?.[2];
  const port = Number(parts?.[3]);
  return host && port >= 1 && port <= 65_535 ? { host, port } : null;
}
