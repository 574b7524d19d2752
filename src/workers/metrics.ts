/** What the workers alone have to tell Prometheus: how busy they are, what they hold, and how they were mended. */
import { Counter, Gauge, type Registry } from 'prom-client';
import type { QueueName } from '../store/queues.ts';
import type { Holds } from './hold.ts';
import type { RepairStep } from './liveness.ts';
import type { QueueWorker } from './queue.ts';

export interface WorkerMetrics {
  onRepair(queue: QueueName, step: RepairStep): void;
  /** An attempt to deliver a webhook came to this. */
  onAttempted(result: 'delivered' | 'retry' | 'dead' | 'superseded'): void;
  /** The workers whose runs are counted. */
  watch(workers: Pick<QueueWorker, 'queue' | 'concurrency' | 'running'>[]): void;
}

export function measureWorkers(registry: Registry, { holds }: { holds: Pick<Holds, 'size'> }): WorkerMetrics {
  const registers = [registry];
  let workers: Parameters<WorkerMetrics['watch']>[0] = [];
  new Gauge({
    name: 'sluice_worker_runs',
    help: 'Hosts (`dispatch`, `poll`) or receivers (`deliver`) that this process is at work on, by queue.',
    labelNames: ['queue'],
    registers,
    collect() {
      for (const { queue, running } of workers) this.set({ queue }, running());
    },
  });
  new Gauge({
    name: 'sluice_worker_concurrency',
    help: 'How many of them this process can be at work on at once, by queue.',
    labelNames: ['queue'],
    registers,
    collect() {
      for (const { queue, concurrency } of workers) this.set({ queue }, concurrency);
    },
  });
  new Gauge({
    name: 'sluice_agent_held_requests',
    help: 'Hosts at which this process holds a question.',
    registers,
    collect() {
      this.set(holds.size());
    },
  });
  const repairs = new Counter({
    name: 'sluice_worker_repairs_total',
    help: 'What was done about a worker that fetched nothing, by queue: `nudge`, `recreate`, `give_up`.',
    labelNames: ['queue', 'step'],
    registers,
  });
  const attempts = new Counter({
    name: 'sluice_webhook_attempts_total',
    help: 'Attempts to deliver a webhook by result: `delivered`, `retry`, `dead`, `superseded`.',
    labelNames: ['result'],
    registers,
  });
  return {
    onRepair: (queue, step) => repairs.inc({ queue, step }),
    onAttempted: (result) => attempts.inc({ result }),
    watch(watched) {
      workers = watched;
    },
  };
}
