/** Asking for a cancel: done at once where nothing was sent to the host, owed to the host otherwise. */
import { waitsForNextAttempt } from '../../job/attempts.ts';
import { outcome } from '../../job/outcome.ts';
import type { CancelOrder, Job } from '../../job/record.ts';
import type { JobStore } from '../jobs.ts';
import type { Wake } from '../queues.ts';

export type Cancel = (
  id: string,
  order: CancelOrder,
  by: string,
) => Promise<{ kind: 'canceled' | 'canceling' | 'over'; job: Job } | null>;

export function createCancel(deps: {
  jobs: Pick<JobStore, 'get' | 'transition' | 'now'>;
  wake: Pick<Wake, 'follow'>;
}): Cancel {
  const { jobs, wake } = deps;

  return async (id, order, by) => {
    for (;;) {
      const job = await jobs.get(id);
      if (!job) return null;
      const asked = { cancel_requested_at: await jobs.now(), canceled_by: by };
      switch (job.state) {
        case 'queued': {
          const why = waitsForNextAttempt(job)
            ? `canceled before attempt ${job.attempt} was started`
            : 'canceled before it was started';
          const message = order.reason ?? why;
          const moved = await jobs.transition(job, 'queued', 'canceled', {
            ...asked,
            outcome: outcome('canceled', { message }),
            why,
          });
          if (moved) return { kind: 'canceled', job: moved };
          break;
        }
        case 'dispatching':
        case 'running':
        case 'unreachable': {
          const moved = await jobs.transition(job, job.state, 'canceling', {
            ...asked,
            cancel: order,
            next_poll_at: asked.cancel_requested_at,
            why: order.reason ?? `cancel requested by ${by}`,
          });
          if (moved) return deliver(moved);
          break;
        }
        case 'canceling': {
          if (!isHarder(order, job.cancel)) return { kind: 'canceling', job };
          const moved = await jobs.transition(job, 'canceling', 'canceling', {
            cancel: order,
            next_poll_at: asked.cancel_requested_at,
            untold: true,
            why: order.reason ?? `KILL requested by ${by}`,
          });
          if (moved) return deliver(moved);
          break;
        }
        case 'lost': {
          if (job.cancel && !isHarder(order, job.cancel)) return { kind: 'canceling', job };
          const moved = await jobs.transition(job, 'lost', 'lost', {
            ...asked,
            cancel: order,
            next_poll_at: asked.cancel_requested_at,
            untold: true,
            why: 'cancel owed until the host is back',
          });
          if (moved) return deliver(moved);
          break;
        }
        default:
          return { kind: 'over', job };
      }
      // Somebody moved it in between: look again.
    }
  };

  function deliver(job: Job) {
    // Not waited for: a lost wake-up is only late, because the sweep sees to hosts with followed jobs.
    wake.follow(job.host).catch(() => undefined);
    return { kind: 'canceling' as const, job };
  }
}

/**
 * A second cancel is the first one over again, but for one that asks for KILL, which need not wait for the grace of the
 * first. Nothing else counts: what a caller left out must not cut short a grace that another one asked for.
 */
function isHarder(order: CancelOrder, before: CancelOrder | null): boolean {
  const kills = ({ signal, grace_seconds }: CancelOrder) => signal === 'KILL' || grace_seconds === 0;
  return kills(order) && (before === null || !kills(before));
}
