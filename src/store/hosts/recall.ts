/**
 * Hosts as they were read a moment ago, by name, so that accepting a job costs no read of its host. What is
 * remembered may be out of date, and proves nothing: each host comes with the print of its text, which the script
 * that accepts compares with the record, and a refusal is decided anew with the host as it is.
 */
import { hash } from 'node:crypto';
import type { HostConfig } from '../../job/host.ts';

export interface SeenHost {
  host: HostConfig;
  /** Of its record; null where it has none: an address that a pattern admits. */
  print: string | null;
}

export interface Recall {
  /** The host of this name, if it was read before. */
  remembered(name: string): SeenHost | null;
  remember(name: string, host: HostConfig, text: string): SeenHost;
  forget(name: string): void;
  /** The same, which opens a host's token once and not with every look at the host. */
  opening(open: (host: HostConfig) => string): (host: HostConfig) => string;
}

/** More hosts than one gateway serves; then all are read anew. */
const MOST = 50_000;

export function createRecall(): Recall {
  const seen = new Map<string, SeenHost>();
  return {
    remembered: (name) => seen.get(name) ?? null,
    remember(name, host, text) {
      if (seen.size >= MOST) seen.clear();
      const one = { host, print: printOf(text) };
      seen.set(name, one);
      return one;
    },
    forget: (name) => void seen.delete(name),
    opening(open) {
      const opened = new Map<string, { sealed: string; token: string }>();
      return (host) => {
        const known = opened.get(host.name);
        if (known?.sealed === host.sealed_token) return known.token;
        const token = open(host);
        if (opened.size >= MOST) opened.clear();
        opened.set(host.name, { sealed: host.sealed_token, token });
        return token;
      };
    },
  };
}

/** As `redis.sha1hex` has it. */
export function printOf(text: string): string {
  return hash('sha1', text);
}
