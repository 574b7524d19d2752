/**
 * The second line of timeouts. Plain Base agents ignore `timeout_seconds`, so the gateway stops such a job itself, when
 * it asks about it and finds it running beyond its time; the launcher keeps it on the host, but its timer may have been
 * killed there. A Full agent watches over its own timers.
 */
import type { Logger } from 'pino';
import type { AgentPort, CancelResult } from '../../job/agent-port.ts';
import { SluiceError } from '../../job/errors.ts';
import { outcome } from '../../job/outcome.ts';
import type { Job, Starter } from '../../job/record.ts';
import type { Report } from '../../job/report.ts';
import type { JobStore } from '../../store/jobs.ts';
import type { Commit } from '../commit.ts';
import type { Contact, Target } from '../contact.ts';

/** How much longer than its time a job may be seen running before it is stopped from here, in ms. */
const LATE_MS: Partial<Record<Starter, number>> = {
  base: 0,
  // The launcher takes 10 s from SIGTERM to SIGKILL, and some more to see that everything is gone.
  'base+launcher': 20_000,
};

export interface Overtime {
  /** @returns the job if it was stopped here; null if its timeout is not ours or not over */
  stop(target: Target, job: Job, report: Report): Promise<Job | false | null>;
}

export function createOvertime(deps: {
  jobs: Pick<JobStore, 'transition' | 'now'>;
  agents: Pick<AgentPort, 'cancel'>;
  contact: Pick<Contact, 'attempt'>;
  commit: Commit;
  log: Logger;
}): Overtime {
  const { jobs, agents, contact, commit, log } = deps;

  return {
    async stop(target, job, report) {
      if (report.kind !== 'running' || (job.state !== 'running' && job.state !== 'unreachable')) return null;
      const now = await jobs.now();
      if (!isOverdue(job, now)) return null;
      const said = await tell(target, job);
      if (said === null) return null;
      if (said.unproven) return endUnproven(job, now);
      log.info({ job: job.id, host: job.host }, 'job.overtime');
      // It may have ended by itself just before: then that is its end.
      return commit(target, job, said.report);
    },
  };

  async function tell(target: Target, job: Job): Promise<CancelResult | null> {
    const order = { signal: 'TERM', grace_seconds: 10, reason: null, kind: 'timeout' as const };
    try {
      return await contact.attempt(target, 'cancel', (dial) => agents.cancel(dial, job, order));
    } catch (error) {
      if (!(error instanceof SluiceError)) throw error;
      // Tried again with its next question; the answers about other jobs must not wait for it.
      log.info({ job: job.id, host: job.host, code: error.code }, 'job.overtime_owed');
      return null;
    }
  }

  async function endUnproven(job: Job, now: number): Promise<Job | false> {
    const message = 'stopped by the gateway; the agent cannot check what is left';
    log.info({ job: job.id, host: job.host }, 'job.overtime');
    return jobs.transition(job, ['running', 'unreachable'], 'timed_out', {
      outcome: outcome('timeout', { message, proof: 'none' }),
      ended_at: now,
      unreachable_since: null,
      why: `ran longer than timeout_seconds; ${message}`,
    });
  }
}

function isOverdue({ started_by, started_at, timeout_seconds }: Job, now: number): boolean {
  const late = started_by === null ? undefined : LATE_MS[started_by];
  if (late === undefined || started_at === null || timeout_seconds === null) return false;
  return now >= started_at + timeout_seconds * 1_000 + late;
}
