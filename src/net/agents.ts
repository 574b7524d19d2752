/**
 * The gateway's side of every conversation with a host, whatever lives there: `AgentPort` over three drivers, of
 * which a job keeps the one that it was started by (`started_by`), even if the host has another agent by now.
 *
 * Nothing here decides what an answer means for a job, and nothing on which a host may have acted is sent twice: a
 * failed request ends in an error whose `retry` says whether it may have.
 */
import type { AgentPort } from '../job/agent-port.ts';
import { SluiceError } from '../job/errors.ts';
import type { Job, Starter } from '../job/record.ts';
import { noAnswers } from './agent/answers.ts';
import { createBaseDriver } from './agent/base.ts';
import type { Answers, Driver } from './agent/driver.ts';
import { createExchange, type RequestEvent } from './agent/exchange.ts';
import { createFullDriver } from './agent/full.ts';
import { createLauncherDriver } from './agent/launcher.ts';
import { createPing } from './agent/ping.ts';
import { createWire, type WireLimits } from './agent/wire.ts';

export type { RequestEvent } from './agent/exchange.ts';

const LIMITS: WireLimits = {
  connectMs: 4_000,
  headersMs: 10_000,
  bodyMs: 10_000,
  totalMs: 15_000,
  // 1,000 hosts with one or two connections each: 110 to 240 MB at most.
  keptHosts: 1_000,
  connectionsPerHost: 16,
  keepAliveMs: 4_000,
  keepAliveMaxMs: 60_000,
};

export interface AgentPortDeps {
  limits?: Partial<WireLimits>;
  /**
   * How long a Base agent's `running` is believed before the launcher is asked itself, in ms. Until then a reboot
   * of the host goes unseen; the asking costs the host a small command for each of its users.
   */
  believeRunningMs?: number;
  /** Told of every request once it is over: one log line, one metric. */
  onRequest?: (event: RequestEvent) => void;
}

/** `close` breaks what is under way: call it once nobody asks any more. */
export function createAgentPort(deps: AgentPortDeps = {}): AgentPort & { close(): Promise<void> } {
  const wire = createWire({ ...LIMITS, ...deps.limits });
  const exchange = createExchange(wire, deps.onRequest ?? (() => {}));
  const launcher = createLauncherDriver(exchange, deps.believeRunningMs ?? 60_000);
  const drivers: Record<Starter, Driver> = {
    full: createFullDriver(exchange),
    base: createBaseDriver(exchange),
    'base+launcher': launcher,
  };

  function driverOf(job: Job): Driver {
    if (job.started_by === null) throw new SluiceError('internal', `${job.id} was never sent to a host`);
    return drivers[job.started_by];
  }

  return {
    ping: createPing(exchange),
    async prepare(host, facts, user) {
      return facts.kind === 'base' && host.launcher ? launcher.probe(host, user) : null;
    },
    start: async (host, order) => driverOf(order.job).start(host, order),
    cancel: async (host, job, order) => driverOf(job).cancel(host, job, order),
    read: async (host, job, range) => driverOf(job).read(host, job, range),
    async ask(host, jobs, wait) {
      const asked = Map.groupBy(jobs, (job) => job.started_by);
      const all = noAnswers();
      // Held questions come last: the others must not wait for them.
      for (const starter of ['base', 'base+launcher', 'full'] as const) {
        // Only those of the Full driver may be less than whole.
        const some = (asked.get(starter) ?? []) as Job[];
        if (some.length === 0) continue;
        try {
          add(all, await drivers[starter].ask(host, some, starter === 'full' ? wait : undefined));
        } catch (error) {
          if (all.reports.size + all.errors.size === 0 || !(error instanceof SluiceError)) throw error;
          all.errors.set(some[0]!.id, error);
          break;
        }
      }
      return all;
    },
    close: wire.close,
  };
}

function add(all: Answers, some: Answers): void {
  for (const [id, report] of some.reports) all.reports.set(id, report);
  for (const [id, error] of some.errors) all.errors.set(id, error);
  all.cursor ??= some.cursor;
}
