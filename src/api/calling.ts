/**
 * Requests to a host on behalf of a caller (logs, checks): each takes one of the host's slots, so that readers
 * cannot crowd out starts, and none is made while the host's circuit is open.
 */
import { randomUUID } from 'node:crypto';
import { setTimeout as pause } from 'node:timers/promises';
import type { DialHost } from '../job/agent-port.ts';
import { SluiceError } from '../job/errors.ts';
import type { HostConfig, HostHealth } from '../job/host.ts';
import type { HostStore } from '../store/hosts.ts';
import type { SlotStore } from '../store/slots.ts';

/** Longer than any request to an agent can last. */
const LEASE_MS = 60_000;
/** How long a free slot is waited for. */
const PATIENCE_MS = 3_000;

export interface CallingDeps {
  hosts: Pick<HostStore, 'openToken' | 'health'>;
  slots: SlotStore;
}

export interface Calling {
  /**
   * @param options.evenIfDown ask although the circuit is open
   * @throws SluiceError host_busy, agent_unreachable (the circuit is open), and what `request` rejects with
   */
  call<T>(
    host: HostConfig,
    request: (dial: DialHost, health: HostHealth) => Promise<T>,
    options?: { evenIfDown?: boolean },
  ): Promise<T>;
}

export function createCalling({ hosts, slots }: CallingDeps): Calling {
  return {
    async call(host, request, { evenIfDown = false } = {}) {
      const health = await hosts.health(host.name);
      if (!evenIfDown) refuseWhileOpen(host, health);
      const holder = `api:${randomUUID()}`;
      await takeSlot(host, holder);
      try {
        return await request(dial(host, health), health);
      } finally {
        // A slot that cannot be given back comes back by its lease.
        await slots.release(host.name, holder).catch(() => {});
      }
    },
  };

  async function takeSlot(host: HostConfig, holder: string): Promise<void> {
    const end = Date.now() + PATIENCE_MS;
    while (!(await slots.takeIfFree(host.name, holder, { max: host.max_requests, leaseMs: LEASE_MS }))) {
      if (Date.now() > end) {
        throw new SluiceError('host_busy', `all ${host.max_requests} requests to ${host.name} are in use`, {
          fields: { retry_after: 2 },
        });
      }
      await pause(50 + Math.random() * 150);
    }
  }

  function dial(host: HostConfig, health: HostHealth): DialHost {
    const { name, address, tls, launcher } = host;
    const { pinned_fingerprint } = health;
    return { name, address, tls, launcher, pinned_fingerprint, token: hosts.openToken(host) };
  }
}

function refuseWhileOpen(host: HostConfig, health: HostHealth): void {
  const wait = (health.retry_at ?? 0) - Date.now();
  if (wait <= 0) return;
  const why = health.cause ?? 'it does not answer';
  throw new SluiceError('agent_unreachable', `${host.name} is not asked for now: ${why}`, {
    fields: { retry_after: Math.ceil(wait / 1_000) },
  });
}
