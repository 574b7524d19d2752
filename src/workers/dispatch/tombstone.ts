/**
 * Making sure that a start which may still be on its way begins nothing: the host is asked, then a tombstone is left
 * there, and its word decides. Only where hosts keep one (Full, or Base through the launcher). A job that has started
 * is never stopped by this.
 */
import type { AgentPort } from '../../job/agent-port.ts';
import { SluiceError } from '../../job/errors.ts';
import type { Job } from '../../job/record.ts';
import type { Report } from '../../job/report.ts';
import type { Commit } from '../commit.ts';
import type { Contact, Target } from '../contact.ts';

/**
 * @param reason why, for the host's own records
 * @returns true if nothing was started under the token and nothing can be any more; else the job is what its host said
 * @throws SluiceError of an agent: nothing may be concluded
 */
export type KeepFromStarting = (target: Target, job: Job, reason: string) => Promise<boolean>;

/**
 * @returns whether its host knows of the start; the job is then what its host said. One that is still on its way may come
 * after a `false`.
 * @throws SluiceError of an agent: nothing may be concluded
 */
export type HasStarted = (target: Target, job: Job) => Promise<boolean>;

export function createHasStarted(deps: {
  agents: Pick<AgentPort, 'ask'>;
  contact: Pick<Contact, 'attempt'>;
  commit: Commit;
}): HasStarted {
  const { agents, contact, commit } = deps;

  return async (target, job) => {
    const { reports, errors } = await contact.attempt(target, 'reconcile', (dial) => agents.ask(dial, [job]));
    const report = reports.get(job.id);
    if (!report) throw errors.get(job.id) ?? new SluiceError('agent_reply_lost');
    if (report.kind === 'unknown' || report.kind === 'never_ran') return false;
    return (await commit(target, job, report)) !== null;
  };
}

export function createKeepFromStarting(deps: {
  agents: Pick<AgentPort, 'cancel'>;
  contact: Pick<Contact, 'attempt'>;
  commit: Commit;
  hasStarted: HasStarted;
}): KeepFromStarting {
  const { agents, contact, commit, hasStarted } = deps;

  return async (target, job, reason) => {
    // A tombstone stops what it finds, so it is only for a start of which the host knows nothing.
    if (await hasStarted(target, job)) return false;
    const order = { signal: 'TERM', grace_seconds: 0, reason };
    const { report } = await contact.attempt(target, 'cancel', (dial) => agents.cancel(dial, job, order));
    if (neverBegan(report)) return true;
    await commit(target, job, report);
    return false;
  };
}

function neverBegan(report: Report): boolean {
  if (report.kind === 'ended') return report.started_at === null;
  return report.kind === 'unknown' || report.kind === 'never_ran';
}
