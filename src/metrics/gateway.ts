/**
 * Figures of the whole gateway, read from Redis when they are scraped: the same in every process, so take their
 * maximum, never their sum. One reading serves all gauges of a scrape. Where Redis does not answer in time the scrape
 * still succeeds: `sluice_redis_up` is 0 then and the other figures are missing, because old ones would be lies.
 */
import { Gauge, type Registry } from 'prom-client';
import type { Vitals } from '../store/vitals.ts';

/** Well below the 10 s that Prometheus waits by default. */
const PATIENCE_MS = 2_000;
/** Gauges of one scrape are collected together; two scrapers may share a reading too. */
const SHARED_MS = 500;

interface Figure {
  name: string;
  help: string;
  /** Without it the figure is one number. */
  label?: string;
  /** Null: not known now. */
  of(vitals: Vitals): Record<string, number> | number | null;
}

const seconds = (ms: number) => ms / 1_000;

const FIGURES: Figure[] = [
  {
    name: 'sluice_redis_memory_ratio',
    help: "The used part of Redis' maxmemory; 0 where there is no limit.",
    of: ({ memory }) => memory,
  },
  { name: 'sluice_jobs', help: 'Stored jobs by state.', label: 'state', of: ({ jobs }) => jobs },
  {
    name: 'sluice_hosts',
    help: 'Hosts by what was last learnt of them, within a day; those that are draining count twice.',
    label: 'status',
    of: ({ hosts }) => hosts,
  },
  { name: 'sluice_hosts_registered', help: 'Registered hosts.', of: ({ registered }) => registered },
  {
    name: 'sluice_queue_waiting_jobs',
    help: 'Jobs that may start now and have not, by what their hosts are up to: `up`, `away` or `draining`.',
    label: 'hosts',
    of: ({ survey }) => survey && mapped(survey.waiting, ({ jobs }) => jobs),
  },
  {
    name: 'sluice_queue_oldest_seconds',
    help: "How long the oldest job that is first or last in its host's line has been allowed to start, by what the host is up to.",
    label: 'hosts',
    of: ({ survey }) => survey && mapped(survey.waiting, ({ oldestMs }) => seconds(oldestMs)),
  },
  {
    name: 'sluice_poll_lateness_seconds',
    help: 'How late the most overdue question to a host about its jobs is.',
    of: ({ survey }) => survey && seconds(survey.polls.lateMs),
  },
  {
    name: 'sluice_poll_late_hosts',
    help: 'Hosts with a question that is late by more than 5 s.',
    of: ({ survey }) => survey?.polls.lateHosts ?? null,
  },
  {
    name: 'sluice_due_late_seconds',
    help: 'How late the most overdue wake-up is, by queue (`dispatch`, `poll`, `deliver`, `batches`), and of the `mailboxes`.',
    label: 'work',
    of: ({ lateMs }) => mapped(lateMs, seconds),
  },
  {
    name: 'sluice_batches',
    help: 'Batches that are not over, by state.',
    label: 'state',
    of: ({ survey }) => survey?.batches?.open ?? null,
  },
  {
    name: 'sluice_batch_hosts',
    help: 'Hosts of batches that are not over: `unstarted`, or `under_way` with a job that is not over.',
    label: 'state',
    of: ({ survey }) => survey?.batches?.hosts ?? null,
  },
  {
    name: 'sluice_batch_paused_seconds',
    help: 'For how long the batch that was paused first has waited to be resumed.',
    of: ({ survey }) => (survey?.batches ? seconds(survey.batches.pausedMs) : null),
  },
  {
    name: 'sluice_batch_late_seconds',
    help: 'How late the most overdue batch is that somebody should go on with.',
    of: ({ batchLateMs }) => seconds(batchLateMs),
  },
  {
    name: 'sluice_webhook_outbox_entries',
    help: 'Changes that were not yet turned into deliveries.',
    of: ({ outbox }) => outbox,
  },
  {
    name: 'sluice_webhook_lag_seconds',
    help: 'How long the oldest delivery that is due has not been sent.',
    of: ({ survey }) => survey && seconds(survey.deliveries.lagMs),
  },
  {
    name: 'sluice_webhook_dead_deliveries',
    help: 'Deliveries of the last 7 days that were given up.',
    of: ({ deadDeliveries }) => deadDeliveries,
  },
  {
    name: 'sluice_sweep_age_seconds',
    help: 'How long ago the last sweep ended, in whichever process.',
    of: ({ sweptMsAgo }) => sweptMsAgo && seconds(sweptMsAgo),
  },
  {
    name: 'sluice_survey_age_seconds',
    help: 'How long ago queues and polls were last looked at; the figures of older looks are missing.',
    of: ({ surveyedMsAgo }) => surveyedMsAgo && seconds(surveyedMsAgo),
  },
];

export type ReadVitals = () => Promise<Vitals>;

/** @returns how to say from where the figures are read */
export function measureGateway(registry: Registry): (read: ReadVitals) => void {
  let source: ReadVitals | null = null;
  let reading: Promise<Vitals | null> = Promise.resolve(null);
  let readAt = Number.NEGATIVE_INFINITY;

  function current(): Promise<Vitals | null> {
    if (source && performance.now() - readAt > SHARED_MS) {
      readAt = performance.now();
      reading = inTime(source);
    }
    return reading;
  }

  const registers = [registry];
  new Gauge({
    name: 'sluice_redis_up',
    help: 'Whether Redis answered this scrape; where it is 0 the figures of the gateway are missing.',
    registers,
    async collect() {
      this.set((await current()) ? 1 : 0);
    },
  });
  for (const { name, help, label, of } of FIGURES) {
    new Gauge({
      name,
      help,
      registers,
      labelNames: label === undefined ? [] : [label],
      async collect() {
        const vitals = await current();
        fill(this, label, vitals && of(vitals));
      },
    });
  }
  return (read) => {
    source = read;
  };
}

function fill(gauge: Gauge, label: string | undefined, value: ReturnType<Figure['of']>): void {
  gauge.reset();
  if (label === undefined) {
    // A gauge that was reset says 0, which is not the same as not known.
    if (value === null) gauge.remove();
    else gauge.set(value as number);
    return;
  }
  for (const [of, number] of Object.entries(value ?? {})) gauge.set({ [label]: of }, number);
}

/** Null where it fails or takes too long: a connection may hang without breaking. */
async function inTime(read: ReadVitals): Promise<Vitals | null> {
  const { promise: late, resolve } = Promise.withResolvers<null>();
  const timer = setTimeout(resolve, PATIENCE_MS, null);
  try {
    return await Promise.race([read(), late]);
  } catch {
    return null;
  } finally {
    clearTimeout(timer);
  }
}

function mapped<K extends string, T>(values: Record<K, T>, of: (value: T) => number): Record<string, number> {
  return Object.fromEntries(Object.entries<T>(values).map(([name, value]) => [name, of(value)]));
}
