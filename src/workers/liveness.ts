/**
 * Watches over the queue workers of this process. One that fetches nothing, although work is due and it has room, has
 * lost its wake-ups or its connection: it is nudged, then made anew, and where neither helps the process is given up, so
 * that its supervisor starts another.
 *
 * A queue that moves is not stuck, however late it is: that is load, which no restart cures. Nor is a queue that cannot
 * be looked at: that is Redis' trouble.
 */
import type { Logger } from 'pino';
import type { QueueName } from '../store/queues.ts';
import type { QueueWorker } from './queue.ts';

export type RepairStep = 'nudge' | 'recreate' | 'give_up';

/** After `checks` checks in a row in which the same work has been due for `stuckMs` the next step is taken. */
export interface LivenessThresholds {
  everyMs: number;
  stuckMs: number;
  checks: number;
}

const THRESHOLDS: LivenessThresholds = { everyMs: 5_000, stuckMs: 10_000, checks: 3 };
const STEPS: RepairStep[] = ['nudge', 'recreate', 'give_up'];

export interface Liveness {
  start(): void;
  /** Queues whose worker stayed stuck after it was made anew: the process should be restarted. */
  stuck(): QueueName[];
  close(): void;
}

export function createLiveness(deps: {
  workers: Pick<QueueWorker, 'queue' | 'running' | 'isFull' | 'recreate'>[];
  /** The job that would be fetched next; null where nothing is due. */
  nextDue: (queue: QueueName) => Promise<string | null>;
  nudge: (queue: QueueName) => Promise<void>;
  onRepair: (queue: QueueName, step: RepairStep) => void;
  onGivenUp: (error: Error) => void;
  thresholds?: LivenessThresholds | undefined;
  log: Logger;
}): Liveness {
  const { nextDue, nudge, onRepair, onGivenUp, log } = deps;
  const { everyMs, stuckMs, checks } = deps.thresholds ?? THRESHOLDS;
  const watched = deps.workers.map((worker) => ({ worker, next: null as string | null, since: 0, late: 0 }));
  let timer: NodeJS.Timeout | undefined;

  async function check(one: (typeof watched)[number]): Promise<void> {
    const { worker } = one;
    const next = await nextDue(worker.queue);
    const hasRoom = !worker.isFull();
    if (next === null || next !== one.next || !hasRoom) {
      Object.assign(one, { next, since: performance.now(), late: 0 });
      return;
    }
    const ms = Math.round(performance.now() - one.since);
    if (ms < stuckMs) return;
    one.late++;
    const step = one.late % checks === 0 ? STEPS[one.late / checks - 1] : undefined;
    if (step) await take(step, worker, ms);
  }

  async function take(step: RepairStep, worker: (typeof watched)[number]['worker'], ms: number) {
    const { queue } = worker;
    log.error({ queue, stuck_ms: ms, running: worker.running(), step }, 'queue.stuck');
    onRepair(queue, step);
    if (step === 'nudge') await nudge(queue);
    else if (step === 'recreate') worker.recreate();
    else onGivenUp(new Error(`the worker of the queue ${queue} fetches nothing, and could not be mended`));
  }

  return {
    start() {
      timer = setInterval(() => {
        for (const one of watched) {
          check(one).catch(() => {
            // Not looked at: what was seen before says nothing any more.
            Object.assign(one, { next: null, late: 0 });
          });
        }
      }, everyMs);
    },
    stuck: () => watched.filter(({ late }) => late > 2 * checks).map(({ worker }) => worker.queue),
    close: () => clearInterval(timer),
  };
}
