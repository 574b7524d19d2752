/**
 * `POST /v1/jobs`: accepts a job. The reply is sent once the record is durable, and not before; from then on
 * nothing that goes wrong here may turn it into a failure, because the job will run.
 */
import type { FastifyReply, FastifyRequest } from 'fastify';
import { SluiceError } from '../../../job/errors.ts';
import type { HostConfig } from '../../../job/host.ts';
import type { Job } from '../../../job/record.ts';
import { isOver } from '../../../job/states.ts';
import { JobView, jobView } from '../../../protocol/job-view.ts';
import type { HostStore } from '../../../store/hosts.ts';
import type { Idempotency } from '../../../store/jobs/idempotency.ts';
import type { Succeed } from '../../../store/jobs/succession.ts';
import type { Accepted, JobStore } from '../../../store/jobs.ts';
import type { Wake } from '../../../store/queues.ts';
import type { Sealer } from '../../../store/sealing.ts';
import { clientGone } from '../../client-gone.ts';
import type { Holds } from '../../holds.ts';
import { fingerprint, parseIdempotencyKey } from '../../idempotency.ts';
import type { Api } from '../../instance.ts';
import { keyReused, uniqueKeyInUse } from '../../keys-in-use.ts';
import { parsePrefer } from '../../prefer.ts';
import { createStoreClock } from '../../store-clock.ts';
import { traceparentOf } from '../../traceparent.ts';
import type { Waits } from '../../waiting.ts';
import { type CallbackDeps, checkCallback } from './callback.ts';
import { checkBody, createOrders } from './order.ts';
import { asksOfAgent, checkAgent, checkGrants, checkReplace, targetUnknown } from './permission.ts';
import { showJob } from './show.ts';
import { SubmitBody, SubmitHeaders } from './submit.schema.ts';

type SubmitRequest = FastifyRequest<{ Body: SubmitBody }>;

export interface SubmitDeps extends CallbackDeps {
  jobs: Pick<JobStore, 'accept' | 'findAccepted' | 'now' | 'tails' | 'output'>;
  hosts: Pick<HostStore, 'remembered' | 'see' | 'health'>;
  wake: Pick<Wake, 'dispatch'>;
  sealer: Pick<Sealer, 'seal' | 'pepper'>;
  /** Goes on with a job that waits for the one that holds its unique key. */
  succeed: Succeed;
  waits: Waits;
  holds: Holds;
}

export function submitRoute(app: Api, deps: SubmitDeps): void {
  const { jobs, hosts, wake, sealer } = deps;
  const order = createOrders({ now: createStoreClock(jobs), sealer });

  app.post(
    '/v1/jobs',
    {
      config: { scope: 'jobs:submit', audit: 'job.submit' },
      schema: {
        tags: ['Jobs'],
        summary: 'Run a command on a host',
        description:
          'Answers 202 once the job is durable. `Prefer: wait=N` (60 s at most) holds the reply until the job is ' +
          'over (200) or the time has passed (202). `Idempotency-Key` makes a repetition answer with the first job. ' +
          'With a `unique_key` that is held, 409 `unique_key_in_use` or the job that holds it, as `on_duplicate` says.',
        headers: SubmitHeaders,
        body: SubmitBody,
        response: { 200: JobView, 202: JobView },
      },
    },
    async (request, reply) => {
      const { body, caller } = request;
      request.audited.target_server = body.target_server;
      checkBody(body);
      const idempotency = idempotencyOf(request);
      // Before the checks: a repetition is answered with its job even if it would be refused by now.
      const earlier = idempotency && (await jobs.findAccepted(caller.name, idempotency));
      if (earlier) return answer(request, reply, earlier);
      return answer(request, reply, await admit(request, idempotency));
    },
  );

  /** On the host as it is remembered, if that admits it; else it is decided on the host as it is. */
  async function admit(request: SubmitRequest, idempotency: Idempotency | null): Promise<Accepted> {
    const target = request.body.target_server;
    let seen = hosts.remembered(target);
    if (seen && !(await isAdmitted(request, seen.host))) seen = null;
    for (;;) {
      if (!seen) {
        seen = await hosts.see(target);
        if (!seen) throw targetUnknown(target);
        await check(request, seen.host);
      }
      const { host, print } = seen;
      const job = order(request.body, host, {
        caller: request.caller.name,
        traceparent: traceparentOf(request),
      });
      const onDuplicate = request.body.on_duplicate ?? 'attach';
      const accepted = await jobs.accept(job, idempotency ?? undefined, { hostPrint: print, onDuplicate });
      if (accepted.kind !== 'host_changed') return accepted;
      seen = null;
    }
  }

  async function isAdmitted(request: SubmitRequest, host: HostConfig): Promise<boolean> {
    try {
      await check(request, host);
      return true;
    } catch (error) {
      if (error instanceof SluiceError) return false;
      throw error;
    }
  }

  async function check({ body, caller }: SubmitRequest, host: HostConfig): Promise<void> {
    checkGrants(caller, host, body.job_user ?? null);
    checkReplace(caller, body);
    if (asksOfAgent(body)) checkAgent(body, host, (await hosts.health(host.name)).agent);
    await checkCallback(deps, body.callback_url ?? null, caller.name);
  }

  async function answer(request: SubmitRequest, reply: FastifyReply, accepted: Accepted) {
    const { kind } = accepted;
    if (kind === 'conflict') throw keyReused({ job_id: accepted.id });
    const { id, host } = accepted.job;
    Object.assign(request.audited, { job: id, host, replayed: kind === 'replayed' });
    if (kind === 'duplicate') throw uniqueKeyInUse({ job_id: id }, accepted.job.state);
    if (kind === 'replayed') reply.header('idempotency-replayed', 'true');
    if (kind === 'accepted' && accepted.wake) wakeDispatcher(request, host);
    if (kind === 'accepted' && accepted.replaces !== null) {
      request.audited.replaces = accepted.replaces;
      await replace(request, id, accepted.replaces);
    }
    const attached = kind === 'attached' || (kind === 'replayed' && accepted.attached);
    if (attached) request.audited.attached = true;

    const settled = await waitAsPreferred(request, reply, accepted.job);
    reply.header('location', `/v1/jobs/${settled.id}`).header('etag', `"${settled.version}"`);
    const view = await showSafely(request, settled);
    return reply.code(isOver(settled.state) ? 200 : 202).send(attached ? { ...view, attached } : view);
  }

  function idempotencyOf({ headers, body }: SubmitRequest): Idempotency | null {
    const key = parseIdempotencyKey(headers['idempotency-key']);
    return key === null ? null : { key, fingerprint: fingerprint(body, sealer.pepper) };
  }

  /** Nobody waits for it: where it fails, the sweep finds the armed host. */
  function wakeDispatcher(request: FastifyRequest, host: string): void {
    wake.dispatch(host).catch((error: Error) => {
      request.log.warn({ event: 'job.wake.failed', host, reason: error.message }, 'left to the sweep');
    });
  }

  /** The job before it is canceled; where that fails, or this process dies, the sweep does it. */
  async function replace(request: FastifyRequest, id: string, before: string): Promise<void> {
    try {
      await deps.succeed(before);
      await deps.succeed(id);
    } catch (error) {
      const reason = error instanceof Error ? error.message : String(error);
      request.log.warn({ event: 'job.replace.failed', job: id, reason }, 'left to the sweep');
    }
  }

  async function waitAsPreferred(request: FastifyRequest, reply: FastifyReply, job: Job): Promise<Job> {
    const { waitSeconds, applied } = parsePrefer(request.headers.prefer);
    if (applied === null) return job;
    const release = waitSeconds > 0 ? deps.holds.takeIfFree(request.caller.name) : null;
    if (waitSeconds > 0 && !release) return job;
    reply.header('preference-applied', applied);
    if (!release) return job;
    try {
      const watch = { id: job.id, ready: ({ state }: Pick<Job, 'state'>) => isOver(state) };
      const options = { seconds: waitSeconds, mode: 'all', signal: clientGone(reply) } as const;
      const [now] = await deps.waits.until([watch], options);
      return now ?? job;
    } catch (error) {
      logAfterAcceptance(request, error);
      return job;
    } finally {
      release();
    }
  }

  async function showSafely(request: FastifyRequest, job: Job) {
    try {
      return await showJob(jobs, job);
    } catch (error) {
      logAfterAcceptance(request, error);
      return jobView(job);
    }
  }
}

function logAfterAcceptance(request: FastifyRequest, error: unknown): void {
  const reason = error instanceof Error ? error.message : String(error);
  request.log.warn({ event: 'job.submit.read_failed', reason }, 'accepted all the same');
}
