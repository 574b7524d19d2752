/**
 * The held request itself: asks a Full agent about all running jobs of the host and waits there for a change.
 * A job that the agent was not asked about before is asked about without waiting first, because its end may lie
 * before the cursor. What is not held (that first question, a ping) takes a slot of the host like any request.
 */
import { setTimeout as pause } from 'node:timers/promises';
import type { AgentPort, DialHost } from '../../job/agent-port.ts';
import { SluiceError } from '../../job/errors.ts';
import { FIRST_PAUSE_MS } from '../../job/pace.ts';
import { launchToken } from '../../job/record.ts';
import { grown } from '../../job/report.ts';
import type { Followed } from '../../store/followed.ts';
import type { RunningJob } from '../../store/jobs/glance.ts';
import type { JobStore } from '../../store/jobs.ts';
import type { InSlot } from '../../store/slots/in-slot.ts';
import type { Commit } from '../commit.ts';
import type { Contact, Target } from '../contact.ts';
import { reread } from '../follow/reread.ts';

/** How long one request is held, in seconds: below what proxies and firewalls drop. */
const HELD_SECONDS = 25;
/** How long a slot is waited for to read the output of a job that ended. */
const PATIENCE_MS = 10_000;
/** And to ask without waiting: without one the host is asked by interval. */
const QUESTION_PATIENCE_MS = 2_000;
/** How often at most it is noted how much the jobs have written, in ms. */
const GROWTH_MS = 10_000;
/** After an answer that changed nothing. */
const UNCHANGED_PAUSE_MS = 500;

type Wait = NonNullable<Parameters<AgentPort['ask']>[2]>;
type Answer = Awaited<ReturnType<AgentPort['ask']>>;

/** Returns when there is nothing to hold, the host fails, or `stop` is aborted: whether anything was asked. */
export type Held = (
  host: string,
  stop: AbortSignal,
  onRenew: (listener: () => void) => void,
) => Promise<boolean>;

export function createHeld(deps: {
  jobs: Pick<JobStore, 'getMany' | 'glance' | 'noteGrowth' | 'now'>;
  followed: Pick<Followed, 'of' | 'askAt'>;
  agents: Pick<AgentPort, 'ask'>;
  contact: Pick<Contact, 'target' | 'known' | 'facts' | 'attempt'>;
  inSlot: InSlot;
  commit: Commit;
}): Held {
  const { jobs, followed, agents, contact, inSlot, commit } = deps;

  return async (host, stop, onRenew) => {
    let cursor: string | null = null;
    let known: RunningJob[] = [];
    let asked: RunningJob[] = [];
    let notedAt = performance.now();
    try {
      for (;;) {
        // Listened for before the jobs are read: one that comes in between is then asked about at the next turn.
        const renewed = new AbortController();
        onRenew(() => renewed.abort());
        const target = await contact.target(host);
        if (!target || stop.aborted || isLeftAlone(target)) break;
        const present = await running(host);
        if (present.length === 0) break;
        const facts = contact.known(target) ?? (await asAnyRequest(target, () => contact.facts(target)));
        if (!facts.capabilities.includes('status_wait')) break;
        asked = present;
        if (someAreNew(asked, known)) cursor = null;
        // For as long as nothing happens these objects are kept, so not twice.
        else known = asked;
        // Only what is held is given up for a new job: else a stream of starts would let no question end.
        const wait: Wait =
          cursor === null
            ? { seconds: 0, cursor, signal: stop }
            : { seconds: HELD_SECONDS, cursor, signal: AbortSignal.any([stop, renewed.signal]) };
        const answer = await holdOnce(target, asked, wait);
        const changed = answer !== null && (await settleAll(target, asked, answer));
        if (answer !== null) {
          cursor = answer.cursor;
          known = asked;
        }
        if (answer !== null && performance.now() - notedAt > GROWTH_MS) {
          await jobs.noteGrowth(asked.flatMap((job) => grown(job, answer.reports.get(job.id))));
          notedAt = performance.now();
        }
        // Neither many starts nor an agent that does not hold make this a circle without a pause.
        if (!changed && wait.seconds > 0) await pause(answer === null ? FIRST_PAUSE_MS : UNCHANGED_PAUSE_MS);
      }
    } catch (error) {
      // Recorded as the host's by then; asking by interval goes on from here.
      if (!(error instanceof SluiceError)) throw error;
    } finally {
      onRenew(() => undefined);
      const now = await jobs.now();
      await followed.askAt(host, new Map(asked.map(({ id }) => [id, now])));
    }
    return asked.length > 0;
  };

  /** Null if the request was given up on purpose, which says nothing about the host. */
  async function holdOnce(target: Target, asked: RunningJob[], wait: Wait): Promise<Answer | null> {
    const ask = async (dial: DialHost) => {
      try {
        return await agents.ask(dial, asked, wait);
      } catch (error) {
        throw wait.signal.aborted ? new Withdrawn() : error;
      }
    };
    const attempt = () => contact.attempt(target, 'status', ask);
    try {
      return wait.seconds > 0 ? await attempt() : await asAnyRequest(target, attempt);
    } catch (error) {
      if (error instanceof Withdrawn) return null;
      throw error;
    }
  }

  function asAnyRequest<T>({ config }: Target, request: () => Promise<T>): Promise<T> {
    return inSlot(config, { patienceMs: QUESTION_PATIENCE_MS }, request);
  }

  /** @returns whether any job changed; of those that run on, nothing is to be committed */
  async function settleAll(target: Target, asked: RunningJob[], { reports }: Answer): Promise<boolean> {
    let changed = false;
    const told = asked.filter(({ id }) => (reports.get(id)?.kind ?? 'running') !== 'running');
    for (const job of await reread(jobs, told)) {
      const report = reports.get(job.id);
      if (!report) continue;
      // The end of a job is committed with the ends of its output, which are read from the host.
      const moved =
        report.kind === 'ended'
          ? await inSlot(target.config, { patienceMs: PATIENCE_MS }, () => commit(target, job, report))
          : await commit(target, job, report);
      if (moved) changed = true;
    }
    return changed;
  }

  async function running(host: string): Promise<RunningJob[]> {
    return (await jobs.glance(await followed.of(host))).running;
  }
}

function someAreNew(asked: RunningJob[], known: RunningJob[]): boolean {
  // By attempt: the next one of a job that was asked about is as new as another job.
  const tokens = new Set(known.map(launchToken));
  return asked.some((job) => !tokens.has(launchToken(job)));
}

/** Not the host's failure: nobody wanted the answer any more. */
class Withdrawn extends Error {}

/** It failed, or asked for a pause, which is not over. */
function isLeftAlone({ health }: Target): boolean {
  return (health.retry_at ?? 0) > health.seen_at;
}
