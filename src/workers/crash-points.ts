/**
 * The crash points of the workers, put around what they call: see `job/crash-points.ts`. Without one that is asked for
 * every part is left as it is, so that nothing of this is on anybody's way.
 */
import type { AgentPort } from '../job/agent-port.ts';
import { type CrashAt, createReach, lookAfter, type Reach } from '../job/crash-points.ts';
import { onRequestSent } from '../net/request-sent.ts';
import type { WebhookSender } from '../net/webhook.ts';
import type { BatchStore } from '../store/batches.ts';
import type { DeliveryStore } from '../store/deliveries.ts';
import type { JobStore } from '../store/jobs.ts';
import type { Leases } from '../store/leases.ts';
import type { Mailbox } from '../store/mailbox.ts';
import type { Schedules } from '../store/queues.ts';

export interface CrashPoints {
  jobs(store: JobStore): JobStore;
  batches(store: BatchStore): BatchStore;
  mailbox(mailbox: Mailbox): Mailbox;
  leases(leases: Leases): Leases;
  schedules(schedules: Schedules): Schedules;
  deliveries(store: DeliveryStore): DeliveryStore;
  agents<Port extends AgentPort>(port: Port): Port;
  sender(sender: WebhookSender): WebhookSender;
  onTold(wake: () => void): () => void;
}

/** @param at null: there are none */
export function createCrashPoints(at: CrashAt | null, die: () => void): CrashPoints {
  return at === null ? NONE : around(createReach(at, die));
}

const asItIs = <Part>(part: Part) => part;
const NONE: CrashPoints = {
  jobs: asItIs,
  batches: asItIs,
  mailbox: asItIs,
  leases: asItIs,
  schedules: asItIs,
  deliveries: asItIs,
  agents: asItIs,
  sender: asItIs,
  onTold: asItIs,
};

function around(reach: Reach): CrashPoints {
  return {
    jobs: (store) => ({
      ...store,
      async transition(job, from, to, change) {
        const moved = await store.transition(job, from, to, change);
        if (!moved) return moved;
        if (moved.state === 'dispatching') reach('dispatch.committed');
        else if (job.state === 'dispatching') reach('dispatch.settled');
        else if (job.state === 'canceling') reach('cancel.settled');
        return moved;
      },
      note: lookAfter(store.note, (_, _job, { cancel_delivered_at: at }) => at && reach('cancel.noted')),
      remove: lookAfter(store.remove, (removed) => removed && reach('sweep.removed')),
    }),
    batches: (store) => ({
      ...store,
      look: lookAfter(store.look, (seen) => seen && seen.room > 0 && reach('batch.looked')),
      make: lookAfter(store.make, (made) => made && reach('batch.made')),
      letGo: lookAfter(store.letGo, (may) => may && reach('batch.let_go')),
    }),
    mailbox: (mailbox) => ({
      ...mailbox,
      take: lookAfter(mailbox.take, ({ claims }) => {
        if (claims.length > 0) reach('dispatch.taken');
        if (claims.some(({ begun }) => begun)) reach('dispatch.committed');
      }),
      rescue: lookAfter(mailbox.rescue, (rescued) => rescued && reach('sweep.rescued')),
      overdue: lookAfter(mailbox.overdue, (hosts) => hosts.length > 0 && reach('sweep.late_found')),
    }),
    leases: (leases) => ({
      ...leases,
      claim: lookAfter(leases.claim, (claimed, name) => {
        if (claimed && name === 'sweep') reach('sweep.claimed');
        if (claimed && name.startsWith('poll:')) reach('follow.claimed');
      }),
    }),
    schedules: (schedules) => ({
      ...schedules,
      remove: lookAfter(schedules.remove, () => reach('follow.unscheduled')),
    }),
    deliveries: (store) => ({
      ...store,
      outbox: lookAfter(store.outbox, (changes) => changes.length > 0 && reach('deliver.read')),
      expand: lookAfter(store.expand, (expanded) => expanded && reach('deliver.expanded')),
      takeDue: lookAfter(store.takeDue, (origins) => origins.length > 0 && reach('deliver.named')),
      claim: lookAfter(store.claim, ({ claimed }) => claimed.length > 0 && reach('deliver.claimed')),
      settle: lookAfter(store.settle, (settled) => settled && reach('deliver.settled')),
    }),
    agents: (port) => ({
      ...port,
      start: startWatched(port.start, reach),
      ask: lookAfter(port.ask, ({ reports }) => {
        if ([...reports.values()].some(({ kind }) => kind === 'ended')) reach('follow.answered');
      }),
      async cancel(...args) {
        reach('cancel.due');
        const result = await port.cancel(...args);
        reach('cancel.answered');
        return result;
      },
    }),
    sender: (sender) => ({ ...sender, send: lookAfter(sender.send, () => reach('deliver.sent')) }),
    onTold: (wake) => () => {
      reach('settle.committed');
      wake();
    },
  };
}

function startWatched(start: AgentPort['start'], reach: Reach): AgentPort['start'] {
  let underWay = 0;
  onRequestSent((path) => {
    if (underWay > 0 && path === '/run') reach('dispatch.sent');
  });
  return async (...args) => {
    underWay++;
    const started = await start(...args).finally(() => underWay--);
    reach('dispatch.answered');
    return started;
  };
}
