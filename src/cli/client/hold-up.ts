/**
 * Says why a job does not go on, to somebody who waits for it: a host that is down must not look like a command
 * that takes its time. Each reason is told once.
 */
import type { Explanation } from '../../protocol/explanation.ts';
import type { JobView } from '../../protocol/job-view.ts';
import type { Client } from '../client.ts';

/** How long a job may stay as it is before it is asked why, in ms: most have begun by then. */
const PATIENCE_MS = 2_000;
/** Before it is asked whether there is another reason by now. */
const AGAIN_MS = 30_000;

const HELD_UP = new Set(['queued', 'dispatching', 'unreachable', 'canceling']);

/** @returns what is to be called with every version of the job that is seen, the last one too */
export function createHoldUp(client: Client, say: (text: string) => void): (job: JobView) => void {
  const told = new Set<string>();
  let timer: NodeJS.Timeout | undefined;
  let at: JobView | undefined;

  async function ask(job: JobView): Promise<void> {
    // Where it cannot be told, waiting goes on as it did.
    const why = await client.request<Explanation>('GET', `/v1/jobs/${job.id}/explain`).catch(() => undefined);
    if (at !== job) return;
    if (why && why.state === job.state && !told.has(why.waiting_for)) {
      told.add(why.waiting_for);
      say(`${job.id}: ${why.message}`);
    }
    askIn(AGAIN_MS, job);
  }

  function askIn(ms: number, job: JobView): void {
    timer = setTimeout(() => void ask(job), ms).unref();
  }

  return (job) => {
    clearTimeout(timer);
    at = job;
    if (HELD_UP.has(job.state)) askIn(PATIENCE_MS, job);
  };
}
