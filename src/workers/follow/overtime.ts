/**
 * Timeouts that no host keeps: plain Base agents ignore `timeout_seconds`, so the gateway stops such a job itself,
 * when it asks about it and finds it running beyond its time. Everybody else's timeout is the host's own.
 */
import type { Logger } from 'pino';
import type { AgentPort } from '../../job/agent-port.ts';
import { SluiceError } from '../../job/errors.ts';
import { outcome } from '../../job/outcome.ts';
import type { Job } from '../../job/record.ts';
import type { Report } from '../../job/report.ts';
import type { JobStore } from '../../store/jobs.ts';
import type { Contact, Target } from '../contact.ts';

export interface Overtime {
  /** @returns the job if it was stopped here; null if its timeout is not ours or not over */
  stop(target: Target, job: Job, report: Report): Promise<Job | false | null>;
}

export function createOvertime(deps: {
  jobs: Pick<JobStore, 'transition' | 'now'>;
  agents: Pick<AgentPort, 'cancel'>;
  contact: Pick<Contact, 'attempt'>;
  log: Logger;
}): Overtime {
  const { jobs, agents, contact, log } = deps;

  return {
    async stop(target, job, report) {
      if (job.started_by !== 'base' || job.timeout_seconds === null) return null;
      if (report.kind !== 'running' || (job.state !== 'running' && job.state !== 'unreachable')) return null;
      const now = await jobs.now();
      if (now < (job.started_at ?? now) + job.timeout_seconds * 1_000) return null;
      const order = { signal: 'TERM', grace_seconds: 10, reason: 'timeout' };
      try {
        await contact.attempt(target, 'cancel', (dial) => agents.cancel(dial, job, order));
      } catch (error) {
        if (!(error instanceof SluiceError)) throw error;
        // Tried again with its next question; the answers about other jobs must not wait for it.
        log.info({ job: job.id, host: job.host, code: error.code }, 'job.overtime_owed');
        return null;
      }
      const message = 'stopped by the gateway; the agent cannot check what is left';
      log.info({ job: job.id, host: job.host }, 'job.overtime');
      return jobs.transition(job, ['running', 'unreachable'], 'timed_out', {
        outcome: outcome('timeout', { message, proof: 'none' }),
        ended_at: now,
        unreachable_since: null,
        why: `ran longer than timeout_seconds; ${message}`,
      });
    },
  };
}
