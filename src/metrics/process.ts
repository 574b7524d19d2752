/**
 * The metrics of one process, made once by whoever starts it and shared by the programs in it (`sluice up` runs two).
 * Its registry is its own: nothing is registered globally, and importing this file measures nothing.
 *
 * No label is ever a host, a job or a caller: their number is not ours to bound.
 */
import { Counter, collectDefaultMetrics, Histogram, Registry } from 'prom-client';
import type { ErrorCode } from '../job/errors.ts';
import type { HostChange } from '../store/feed.ts';
import { measureGateway, type ReadVitals } from './gateway.ts';

/** What kept a request or a start from being made although somebody wanted it. */
export type Limited = 'rate' | 'max_requests' | 'max_jobs' | 'paused' | 'draining' | 'probation';

export interface ProcessMetrics {
  registry: Registry;
  /** A request to an agent is over; for `createAgentPort`. */
  onRequest(event: { what: string; ms: number; code: ErrorCode | null }): void;
  /** A limit of a host made something wait. */
  onLimited(limit: Limited, what?: 'start' | 'follow' | 'read'): void;
  /** This process changed the status of a host; for `createHostStore`. */
  onHostChange(change: Pick<HostChange, 'type'>): void;
  /** From where the figures of the whole gateway are read, at every scrape. Until then there are none. */
  watch(read: ReadVitals): void;
}

const REQUEST_SECONDS = [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60];

export function createProcessMetrics(): ProcessMetrics {
  const registry = new Registry();
  const registers = [registry];
  collectDefaultMetrics({ register: registry });
  const requests = new Counter({
    name: 'sluice_agent_requests_total',
    help: "Requests to agents by endpoint and outcome: `ok` or the problem's code.",
    labelNames: ['endpoint', 'outcome'],
    registers,
  });
  const duration = new Histogram({
    name: 'sluice_agent_request_duration_seconds',
    help: 'How long requests to agents took; held ones (`status`, `run`, `cancel`) take as long as they are held.',
    labelNames: ['endpoint'],
    buckets: REQUEST_SECONDS,
    registers,
  });
  const limited = new Counter({
    name: 'sluice_limited_total',
    help: 'How often a limit of a host made a start, a question (`follow`) or a read wait, by the limit.',
    labelNames: ['limit', 'for'],
    registers,
  });
  const hostChanges = new Counter({
    name: 'sluice_host_status_changes_total',
    help: "Changes of a host's status (its circuit) made by this process, by the new status.",
    labelNames: ['status'],
    registers,
  });
  const watch = measureGateway(registry);

  return {
    registry,
    onRequest({ what, ms, code }) {
      requests.inc({ endpoint: what, outcome: code ?? 'ok' });
      duration.observe({ endpoint: what }, ms / 1_000);
    },
    onLimited(limit, what = 'start') {
      limited.inc({ limit, for: what });
    },
    onHostChange({ type }) {
      hostChanges.inc({ status: type.replace('host.', '') });
    },
    watch,
  };
}
