/**
 * Says why a batch does not go on, to somebody who waits for it: hosts that are down must not look like a command that
 * takes its time. Each reason is told once.
 */
import type { BatchExplanation } from '../../protocol/batch-explanation.ts';
import type { BatchView } from '../../protocol/batch-view.ts';
import type { Client } from '../client.ts';

/** How long nothing may change before it is asked why, and again, in ms. */
const PATIENCE_MS = 5_000;

/** Where nothing is amiss, or it is told otherwise. */
const AS_ASKED_FOR = new Set(['resume', 'wave_pause', 'wave', 'max_parallel', 'next_jobs', 'end', 'nothing']);
const AMISS = new Set(['down', 'misconfigured', 'draining', 'unreachable']);

export interface HoldUp {
  /** Called with every version of the batch that is seen. */
  see(batch: BatchView): void;
  stop(): void;
}

export function createBatchHoldUp(client: Client, say: (text: string) => void): HoldUp {
  const told = new Set<string>();
  let timer: NodeJS.Timeout | undefined;
  let at: BatchView | undefined;

  async function ask(batch: BatchView): Promise<void> {
    const path = `/v1/batches/${batch.id}/explain`;
    // Where it cannot be told, waiting goes on as it did.
    const why = await client.request<BatchExplanation>('GET', path).catch(() => undefined);
    if (at !== batch) return;
    const reason = why && reasonIn(why);
    if (why && reason && !told.has(reason)) {
      told.add(reason);
      say(`${batch.id}: ${why.message}`);
    }
    askLater(batch);
  }

  function askLater(batch: BatchView): void {
    timer = setTimeout(() => void ask(batch), PATIENCE_MS).unref();
  }

  return {
    see(batch) {
      if (batch.version === at?.version) return;
      clearTimeout(timer);
      at = batch;
      askLater(batch);
    },
    stop() {
      clearTimeout(timer);
      at = undefined;
    },
  };
}

/** The same word for as long as it is the same that holds it up; none where it goes on as was asked for. */
function reasonIn({ waiting_for, hosts }: BatchExplanation): string {
  const amiss = hosts.filter(({ why }) => AMISS.has(why)).map(({ why }) => why);
  const isHeldUp = !AS_ASKED_FOR.has(waiting_for);
  return [...(isHeldUp ? [waiting_for] : []), ...amiss].join(' ');
}
