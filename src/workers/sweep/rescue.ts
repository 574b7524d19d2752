/**
 * Bringing back jobs that are in nobody's hands: neither in their host's mailbox nor in a slot. By design there are
 * none; a Redis that lost its last second, or an upgrade that gave the mailbox another name, leaves some.
 */
import type { Logger } from 'pino';
import type { Job } from '../../job/record.ts';
import type { JobStore } from '../../store/jobs.ts';
import { LEASE_MS } from '../../store/leases/renewal.ts';
import type { Mailbox } from '../../store/mailbox.ts';
import type { Wake } from '../../store/queues.ts';
import type { Contact } from '../contact.ts';
import type { Silence } from '../follow/silence.ts';

const PAGE = 500;
/** Pages of waiting jobs looked at in one sweep: a long queue must not hold up what else is swept. */
const PAGES = 4;

export interface Rescue {
  /** All starts that nobody has in hand: their slots were lost. */
  stranded(): Promise<void>;
  /** Begins a pass over all jobs that wait, in search of those without a place. */
  beginPass(): void;
  /** Goes on with the pass, if one is under way. */
  goOn(): Promise<void>;
}

export function createRescue(deps: {
  jobs: Pick<JobStore, 'list' | 'now'>;
  mailbox: Pick<Mailbox, 'rescue' | 'withoutPlace'>;
  wake: Pick<Wake, 'dispatch'>;
  contact: Pick<Contact, 'target'>;
  silence: Pick<Silence, 'ofHost'>;
  log: Logger;
}): Rescue {
  const { jobs, mailbox, wake, contact, silence, log } = deps;
  /** Where the pass goes on: null at its beginning, undefined where none is under way. */
  let next: string | null | undefined;

  /** @returns the page after */
  async function rescuePage(state: 'dispatching' | 'queued', after: string | null): Promise<string | null> {
    const page = await jobs.list({ state: [state] }, { size: PAGE, ...(after !== null && { after }) });
    const candidates = state === 'queued' ? page.jobs : await sentLongAgo(page.jobs);
    // All of a page at once: one round trip after the other would take minutes where many are stranded.
    if (state === 'dispatching') await Promise.all(candidates.map(giveUpIfSilent));
    const stranded = await mailbox.withoutPlace(candidates);
    const rescued = await Promise.all(
      stranded.map(async (job) => ((await mailbox.rescue(job)) ? [job] : [])),
    );
    const hosts = new Set<string>();
    for (const { id, host } of rescued.flat()) {
      log.warn({ job: id, host, state }, 'sweep.job_rescued');
      hosts.add(host);
    }
    await Promise.all([...hosts].map((host) => wake.dispatch(host)));
    return page.after;
  }

  /** Not those whose starts are under way in slots that cannot have been lost yet. */
  async function sentLongAgo(starts: Job[]): Promise<Job[]> {
    const before = (await jobs.now()) - 2 * LEASE_MS;
    return starts.filter(({ dispatched_at }) => dispatched_at === null || dispatched_at < before);
  }

  /** A start whose host never came back: nobody asks about it, so nobody else would notice. */
  async function giveUpIfSilent(job: Job): Promise<void> {
    const asked = job.dispatched_at ?? job.created_at;
    if ((await jobs.now()) < asked + job.lost_after_seconds * 1_000) return;
    const target = await contact.target(job.host);
    if (target) await silence.ofHost(target, [job]);
  }

  return {
    async stranded() {
      let after: string | null = null;
      do after = await rescuePage('dispatching', after);
      while (after !== null);
    },
    beginPass() {
      next ??= null;
    },
    async goOn() {
      for (let i = 0; i < PAGES && next !== undefined; i++) {
        next = (await rescuePage('queued', next)) ?? undefined;
      }
    },
  };
}
