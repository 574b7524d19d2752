/**
 * Callers that keep submitting jobs to a gateway whose processes come and go: each submission has an idempotency key
 * and is repeated, at any of the API's addresses, until it is acknowledged. What was acknowledged is kept. Now and
 * then they also read the output of one of their jobs, or cancel it.
 */
import { randomUUID } from 'node:crypto';
import { setTimeout as pause } from 'node:timers/promises';
import type { Random } from './random.ts';
import { createCaller } from './sluice-process.ts';

export interface Order {
  target_server: string;
  command: string;
  priority: number;
}

export interface Acknowledged {
  id: string;
  key: string;
  order: Order;
  /** Somebody asked for its cancel. */
  canceled: boolean;
}

type Reply = Awaited<ReturnType<ReturnType<typeof createCaller>>>;

export function createSteadyCallers(deps: { urls: string[]; apiKey: string }) {
  const calls = deps.urls.map((url) => createCaller(() => url, deps.apiKey));
  const acknowledged: Acknowledged[] = [];
  let turn = 0;
  let repeated = 0;
  let closed = false;

  const callOnce = (...request: Parameters<(typeof calls)[0]>) =>
    calls[turn++ % calls.length]!(...request).catch(() => null);

  /** Asks one address after the other until one answers with less than 500. Only what may be repeated may come here. */
  async function call(...request: Parameters<(typeof calls)[0]>): Promise<Reply> {
    for (;;) {
      const reply = await callOnce(...request);
      if (reply && reply.status < 500) return reply;
      if (closed) throw new Error(`nobody answered ${request[0]} ${request[1]}`);
      repeated++;
      await pause(100);
    }
  }

  const submit = ({ key, order }: Pick<Acknowledged, 'key' | 'order'>) =>
    call('POST', '/v1/jobs', { ...order, poll_interval: 1 }, { 'idempotency-key': `"${key}"` });

  /** Submits one job after the other until it is told to stop. */
  async function keepSubmitting(random: Random, next: () => Order, stop: AbortSignal): Promise<void> {
    while (!stop.aborted && !closed) {
      const wanted = { key: randomUUID(), order: next() };
      const { status, body } = await submit(wanted);
      // A job that was over when its acknowledgement was asked for again comes with 200.
      if (status !== 202 && status !== 200)
        throw new Error(`not accepted: ${status} ${JSON.stringify(body)}`);
      const job = { ...wanted, id: body.id as string, canceled: random.chance(0.05) };
      acknowledged.push(job);
      await pause(random.between(20, 300));
      // 409 where it is over by then.
      if (job.canceled) await call('POST', `/v1/jobs/${job.id}:cancel`);
      else if (random.chance(0.1)) await callOnce('GET', `/v1/jobs/${job.id}/logs`);
    }
  }

  return {
    call,
    submit,
    keepSubmitting,
    acknowledged,
    /** Requests that had no answer, or one that asks to come again. */
    repeated: () => repeated,
    /** Repeats nothing any more. */
    close() {
      closed = true;
    },
  };
}
