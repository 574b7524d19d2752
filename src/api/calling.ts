/**
 * Requests to a host on behalf of a caller (logs, checks): each takes one of the host's slots, so that readers
 * cannot crowd out starts, and none is made while the host's circuit is open or paused.
 */
import { type DialHost, dialHost } from '../job/agent-port.ts';
import { circuitOf } from '../job/circuit.ts';
import { SluiceError } from '../job/errors.ts';
import { type HostConfig, type HostHealth, pauseLeftMs, rateOf } from '../job/host.ts';
import type { Budget } from '../store/budget.ts';
import type { HostStore } from '../store/hosts.ts';
import type { InSlot } from '../store/slots/in-slot.ts';

/** How long a free slot is waited for, and then room in the host's budget for each request. */
const PATIENCE_MS = 3_000;

export interface CallingDeps {
  hosts: Pick<HostStore, 'openToken' | 'health'>;
  inSlot: InSlot;
  budget: Pick<Budget, 'pay'>;
}

export interface Calling {
  /**
   * @param options.evenIfDown ask although the circuit is open
   * @throws SluiceError host_busy, agent_busy (the host has asked for a pause), agent_unreachable (its circuit is
   *   open), and what `request` rejects with
   */
  call<T>(
    host: HostConfig,
    request: (dial: DialHost) => Promise<T>,
    options?: { evenIfDown?: boolean },
  ): Promise<T>;
}

export function createCalling({ hosts, inSlot, budget }: CallingDeps): Calling {
  return {
    async call(host, request, { evenIfDown = false } = {}) {
      const health = await hosts.health(host.name);
      if (!evenIfDown) refuseWhileOpen(host, health);
      const rate = rateOf(host, health.agent);
      const beforeRequest = () => budget.pay(host.name, rate, { for: 'read', patienceMs: PATIENCE_MS });
      const dial = { ...dialHost(host, health, hosts.openToken(host)), ...(rate && { beforeRequest }) };
      return inSlot(host, { patienceMs: PATIENCE_MS }, () => request(dial));
    },
  };
}

function refuseWhileOpen(host: HostConfig, health: HostHealth): void {
  const pauseMs = pauseLeftMs(health);
  if (pauseMs === 0) return;
  // Whoever asks for a pause is there: that is told apart from silence.
  const isPaused = circuitOf(health) === 'paused';
  const why = health.cause ?? (isPaused ? 'it has asked for a pause' : 'it does not answer');
  const detail = `${host.name} is not asked for now: ${why}`;
  const fields = { retry_after: Math.ceil(pauseMs / 1_000) };
  throw new SluiceError(isPaused ? 'agent_busy' : 'agent_unreachable', detail, { fields });
}
