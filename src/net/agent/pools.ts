/**
 * The connections to all hosts: one undici pool for each host and way to know it, of which only so many are kept.
 *
 * A kept connection costs some 110 KB, so 10,000 hosts would cost a gigabyte: the least recently used pools go
 * first. A host that is asked again within its keep-alive stays warm, a bigger fleet pays for handshakes
 * (about 2 ms each). A pool knows its host by one `tls` and one pin: a changed pin never meets an old connection.
 */
import { Pool } from 'undici';
import type { DialHost } from '../../job/agent-port.ts';
import { type AgentConnector, createAgentConnector } from './certificate.ts';

export interface PoolLimits {
  /** Name, TCP and TLS together. */
  connectMs: number;
  /** Hosts whose connections are kept at once. */
  keptHosts: number;
  /** Connections to one host at once; more requests wait in their own deadline. */
  connectionsPerHost: number;
  /**
   * How long an idle connection is kept where the agent does not say. Below the 5 s of the usual Python servers:
   * a request on a connection that the agent is just closing has an unknown fate.
   */
  keepAliveMs: number;
  /** The longest keep-alive that an agent's own word can get, in ms. */
  keepAliveMaxMs: number;
}

/** One host's pool, held by a request until it calls `release`. */
export interface Line {
  pool: Pool;
  shown: AgentConnector['shown'];
  release(): void;
}

export function createPools(limits: PoolLimits) {
  // In the order of their last use: a Map keeps its insertions' order, and every use inserts anew.
  const kept = new Map<string, { pool: Pool; shown: AgentConnector['shown']; busy: number }>();

  function open(host: DialHost, connections: number) {
    const connector = createAgentConnector(host, limits.connectMs);
    const scheme = 'dangerously_off' in host.tls ? 'http' : 'https';
    const pool = new Pool(`${scheme}://${host.address}`, {
      connect: connector.connect,
      connections,
      pipelining: 1,
      allowH2: false,
      keepAliveTimeout: limits.keepAliveMs,
      keepAliveMaxTimeout: limits.keepAliveMaxMs,
    });
    return { pool, shown: connector.shown, busy: 0 };
  }

  function trim(): void {
    for (const [key, entry] of kept) {
      if (kept.size <= limits.keptHosts) return;
      if (entry.busy > 0) continue;
      kept.delete(key);
      void entry.pool.close().catch(() => {});
    }
  }

  return {
    /**
     * The line to a host. `fresh`: a connection of its own that is closed afterwards; also where the certificate
     * is about to be pinned, which must be the one shown now and not that of an older connection.
     */
    take(host: DialHost, fresh: boolean): Line {
      if (fresh || ('pin' in host.tls && host.pinned_fingerprint === null)) {
        const { pool, shown } = open(host, 1);
        return { pool, shown, release: () => void pool.close().catch(() => {}) };
      }
      const key = JSON.stringify([host.address, host.name, host.tls, host.pinned_fingerprint]);
      const entry = kept.get(key) ?? open(host, limits.connectionsPerHost);
      kept.delete(key);
      kept.set(key, entry);
      entry.busy++;
      trim();
      return { pool: entry.pool, shown: entry.shown, release: () => void entry.busy-- };
    },
    /** Breaks what is under way; nothing is kept. */
    async close(): Promise<void> {
      const all = [...kept.values()];
      kept.clear();
      await Promise.all(all.map(({ pool }) => pool.destroy()));
    },
  };
}
