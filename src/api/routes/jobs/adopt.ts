/**
 * `POST /v1/jobs:adopt`: takes over a job that somebody else started on an agent, by the agent's own id. Its host is
 * asked first: what it does not know is refused, and where it does not answer the job is `unreachable` until it does.
 */
import type { AgentPort } from '../../../job/agent-port.ts';
import { hasCode, SluiceError } from '../../../job/errors.ts';
import type { HostConfig } from '../../../job/host.ts';
import type { Job } from '../../../job/record.ts';
import { isOver } from '../../../job/states.ts';
import { JobView } from '../../../protocol/job-view.ts';
import type { HostStore } from '../../../store/hosts.ts';
import type { AdoptedJob } from '../../../store/jobs/adopt.ts';
import type { JobStore } from '../../../store/jobs.ts';
import type { Wake } from '../../../store/queues.ts';
import type { Sealer } from '../../../store/sealing.ts';
import type { Calling } from '../../calling.ts';
import type { Api } from '../../instance.ts';
import { createStoreClock } from '../../store-clock.ts';
import { AdoptBody } from './adopt.schema.ts';
import { type CallbackDeps, checkCallback } from './callback.ts';
import { checkLabels, createOrders } from './order.ts';
import { checkGrants, targetUnknown } from './permission.ts';
import { showJob } from './show.ts';

export interface AdoptDeps extends CallbackDeps {
  jobs: Pick<JobStore, 'adopt' | 'findAdopted' | 'now' | 'tails' | 'output'>;
  hosts: Pick<HostStore, 'see'>;
  agents: Pick<AgentPort, 'ask'>;
  calling: Calling;
  wake: Pick<Wake, 'follow'>;
  sealer: Pick<Sealer, 'seal'>;
}

/** A job of a gateway's: it is followed by its own record, which says who may see it. */
const LAUNCH_TOKEN = /^job_[0-9A-Z]{26}-\d+$/;

/** Of a job that is not started by us. */
const NO_START = {
  command: '',
  start_deadline_seconds: 604_800,
  priority: 5,
  on_ambiguous_start: 'lose',
  leftovers: 'keep',
} as const;

export function adoptRoute(app: Api, deps: AdoptDeps): void {
  const { jobs, hosts, agents, calling, wake } = deps;
  const order = createOrders({ now: createStoreClock(jobs), sealer: deps.sealer });

  app.post(
    '/v1/jobs::adopt',
    {
      config: { scope: 'jobs:submit', audit: 'job.adopt' },
      schema: {
        tags: ['Jobs'],
        summary: 'Follow a job that somebody else started on an agent',
        description:
          'Asks the agent about `agent_job_id` and follows the job from here on like any other, but without a ' +
          'command of its own. The same host and id once more answer with the same job. 404 `agent_job_unknown` ' +
          'where the agent knows no such job, or it is one of a gateway; a job of a host that does not answer is ' +
          '`unreachable`. The key must be granted the own user of the agent (null), whoever the job runs as.',
        body: AdoptBody,
        response: { 200: JobView, 202: JobView },
      },
    },
    async (request, reply) => {
      const { body, caller } = request;
      const { target_server: target, agent_job_id } = body;
      Object.assign(request.audited, { target_server: target, agent_job_id });
      checkLabels(body.labels ?? {});
      for (;;) {
        const seen = await hosts.see(target);
        if (!seen) throw targetUnknown(target);
        const { host, print } = seen;
        checkGrants(caller, host, body.job_user ?? null);
        // Whose it is only its host knows, and does not say: with it come its output, and its end by a cancel.
        checkGrants(caller, host, null);
        if (LAUNCH_TOKEN.test(agent_job_id)) throw unknown(host, agent_job_id);
        await checkCallback(deps, body.callback_url ?? null, caller.name);
        const known = await jobs.findAdopted(caller.name, host.name, agent_job_id);
        const adopted =
          known ?? (await jobs.adopt(await found(host, record(body, host, caller.name)), print));
        if (adopted === 'host_changed') continue;
        Object.assign(request.audited, { job: adopted.id, host: host.name });
        // Nobody waits for it: where it fails, the sweep finds the host.
        wake.follow(host.name).catch(() => undefined);
        reply.header('location', `/v1/jobs/${adopted.id}`).header('etag', `"${adopted.version}"`);
        return reply.code(isOver(adopted.state) ? 200 : 202).send(await showJob(jobs, adopted));
      }
    },
  );

  function record(body: AdoptBody, host: HostConfig, caller: string): AdoptedJob {
    const { agent_job_id, ...rest } = body;
    const job = order({ ...NO_START, ...rest }, host, { caller, traceparent: null });
    return { ...job, state: 'running', attempt: 1, started_by: 'base', agent_job_id };
  }

  /** The job as its host has it now; one that is over has its end fetched with the first question. */
  async function found(host: HostConfig, job: AdoptedJob): Promise<AdoptedJob> {
    const report = await ask(host, job);
    if (report === null) return { ...job, state: 'unreachable', unreachable_since: await jobs.now() };
    if (report.kind !== 'unknown') return job;
    throw unknown(host, job.agent_job_id);
  }

  /** @returns what the host says; null where it says nothing */
  async function ask(host: HostConfig, job: Job) {
    try {
      const { reports, errors } = await calling.call(host, (dial) => agents.ask(dial, [job]));
      const error = errors.get(job.id);
      if (error) throw error;
      return reports.get(job.id) ?? null;
    } catch (error) {
      // No room for a question is ours, and a host that asks to wait answers: the caller asks again.
      if (!(error instanceof SluiceError) || hasCode(error, 'host_busy', 'agent_busy')) throw error;
      return null;
    }
  }
}

function unknown(host: HostConfig, agentJobId: string): SluiceError {
  const detail = `the agent of ${host.name} knows no job ${agentJobId} that others have started`;
  return new SluiceError('agent_job_unknown', detail, { fields: { field: 'agent_job_id' } });
}
