/**
 * `POST /run`: makes a job durable, starts it, and answers for it when it is asked for again.
 *
 * One launch token starts at most one command: the rename that publishes a job can win only once, the supervisor's
 * latch can be made only once, and a token is remembered for 30 days. A token whose command certifiably never began
 * (`never_ran`) may be started again; a token that was cancelled before its start may not.
 */
import type { RunRequest } from '../protocol/agent.ts';
import type { Follow } from './follow.ts';
import { type JobPlan, jobFiles, requestHash, secretsText } from './job-files.ts';
import type { Logger } from './log.ts';
import type { Planner } from './plan.ts';
import { Refusal, refuseForAnotherStore } from './refusal.ts';
import type { Job, Registry } from './registry.ts';
import type { Spool } from './spool.ts';
import type { Supervisor } from './supervisor.ts';
import type { Turns } from './turns.ts';

export interface AcceptDeps {
  spool: Pick<Spool, 'storeId' | 'nudges' | 'publish' | 'remove' | 'refuseIfFull'>;
  registry: Pick<Registry, 'get' | 'add' | 'live' | 'forget'>;
  supervisor: Pick<Supervisor, 'start'>;
  plan: Planner;
  follow: Follow;
  scripts: string;
  maxJobs: number;
  inTurn: Turns;
  log: Logger;
}

export interface Accepted {
  job: Job;
  existing: boolean;
}

export function createAccept(deps: AcceptDeps) {
  const { registry, spool } = deps;
  /** Those that are not in the registry yet, and count all the same. */
  let publishing = 0;

  return (id: string, request: RunRequest): Promise<Accepted> =>
    deps.inTurn(id, () => acceptOne(id, request));

  async function acceptOne(id: string, request: RunRequest): Promise<Accepted> {
    refuseForAnotherStore(request, spool.storeId);
    const known = registry.get(id);
    if (known?.outcome?.reason === 'never_ran') {
      await spool.remove(id);
      registry.forget(id);
    } else if (known) {
      return { job: answerFor(known, request), existing: true };
    }
    return { job: await start(await deps.plan(id, request), request), existing: false };
  }

  function answerFor(known: Job, request: RunRequest): Job {
    if (known.record.tombstone) {
      throw new Refusal(409, 'canceled_before_start', 'this job was cancelled before it was started');
    }
    if (known.record.request_hash !== requestHash(request)) {
      throw new Refusal(409, 'job_id_conflict', 'this job_id belongs to a different command');
    }
    return known;
  }

  async function start(plan: JobPlan, request: RunRequest): Promise<Job> {
    const { job_id: id, user } = plan.record;
    if (registry.live().length + publishing >= deps.maxJobs) {
      throw new Refusal(429, 'busy', `${deps.maxJobs} jobs are running on this host`);
    }
    publishing++;
    await publish(plan).finally(() => publishing--);
    const job = registry.add({ record: plan.record, state: 'accepted', startedAt: null, outcome: null });
    const secrets = plan.record.has_secrets ? secretsText(request.secret_env ?? {}) : undefined;
    void deps.supervisor.start(id, secrets).then(() => deps.follow(job));
    deps.log.info({ job_id: id, user }, 'job.accepted');
    return job;
  }

  async function publish(plan: JobPlan): Promise<void> {
    const context = { storeId: spool.storeId, scripts: deps.scripts, nudges: spool.nudges };
    await spool.refuseIfFull();
    const published = await spool.publish(plan.record.job_id, jobFiles(plan, context), plan.account);
    // The registry knows every job of the spool: a directory that it does not know is a damaged one.
    if (!published) throw new Refusal(409, 'job_id_conflict', 'the spool holds a damaged job of this id');
  }
}
