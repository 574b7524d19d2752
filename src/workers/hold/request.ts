/**
 * The held request itself: asks a Full agent about all running jobs of the host and waits there for a change.
 * A job that the agent was not asked about before is asked about without waiting first, because its end may lie
 * before the cursor.
 */
import type { AgentPort } from '../../job/agent-port.ts';
import { SluiceError } from '../../job/errors.ts';
import type { Job } from '../../job/record.ts';
import type { Followed } from '../../store/followed.ts';
import type { JobStore } from '../../store/jobs.ts';
import type { Commit } from '../commit.ts';
import type { Contact, Target } from '../contact.ts';
import type { InSlot } from '../slot.ts';

/** How long one request is held, in seconds: below what proxies and firewalls drop. */
const HELD_SECONDS = 25;
/** How long a slot is waited for to read the output of a job that ended. */
const PATIENCE_MS = 10_000;

type Wait = NonNullable<Parameters<AgentPort['ask']>[2]>;
type Answer = Awaited<ReturnType<AgentPort['ask']>>;

/** Returns when there is nothing to hold, the host fails, or `stop` is aborted. */
export type Held = (
  host: string,
  stop: AbortSignal,
  onRenew: (listener: () => void) => void,
) => Promise<void>;

export function createHeld(deps: {
  jobs: Pick<JobStore, 'getMany' | 'now'>;
  followed: Pick<Followed, 'of' | 'askAt'>;
  agents: Pick<AgentPort, 'ask'>;
  contact: Pick<Contact, 'target' | 'facts' | 'attempt'>;
  inSlot: InSlot;
  commit: Commit;
}): Held {
  const { jobs, followed, agents, contact, inSlot, commit } = deps;

  return async (host, stop, onRenew) => {
    let cursor: string | null = null;
    let known = new Set<string>();
    let asked: Job[] = [];
    try {
      for (;;) {
        const target = await contact.target(host);
        if (!target || stop.aborted) return;
        const facts = await contact.facts(target);
        if (!facts.capabilities.includes('status_wait')) return;
        asked = await running(host);
        if (asked.length === 0) return;
        if (asked.some(({ id }) => !known.has(id))) cursor = null;
        const renewed = new AbortController();
        onRenew(() => renewed.abort());
        const signal = AbortSignal.any([stop, renewed.signal]);
        const wait: Wait = { seconds: cursor === null ? 0 : HELD_SECONDS, cursor, signal };
        const answer = await holdOnce(target, asked, wait);
        if (answer === null) continue;
        cursor = answer.cursor;
        known = new Set(asked.map(({ id }) => id));
        for (const job of asked) {
          const report = answer.reports.get(job.id);
          // The end of a job is committed with the ends of its output, which are read from the host.
          if (report?.kind === 'ended')
            await inSlot(target, { patienceMs: PATIENCE_MS }, () => commit(target, job, report));
          else if (report) await commit(target, job, report);
        }
      }
    } catch (error) {
      // Recorded as the host's by then; asking by interval goes on from here.
      if (!(error instanceof SluiceError)) throw error;
    } finally {
      onRenew(() => undefined);
      const now = await jobs.now();
      await followed.askAt(host, new Map(asked.map(({ id }) => [id, now])));
    }
  };

  /** Null if the request was given up on purpose. */
  async function holdOnce(target: Target, asked: Job[], wait: Wait): Promise<Answer | null> {
    try {
      return await contact.attempt(target, 'status', () => agents.ask(target, asked, wait));
    } catch (error) {
      if (wait.signal.aborted) return null;
      throw error;
    }
  }

  async function running(host: string): Promise<Job[]> {
    const ids = (await followed.of(host)).map(({ id }) => id);
    const found = await jobs.getMany(ids);
    return found.filter((job): job is Job => job?.state === 'running' && job.started_by === 'full');
  }
}
