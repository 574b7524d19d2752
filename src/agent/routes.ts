/** Which path does what, and what each refuses: the HTTP face of the agent. */
import { randomUUID } from 'node:crypto';
import { Compile } from 'typebox/compile';
import {
  type AgentJob,
  CancelRequest,
  LAUNCH_TOKEN,
  type LogsReply,
  type PingReply,
  RunRequest,
  StatusRequest,
} from '../protocol/agent.ts';
import type { Accepted } from './accept.ts';
import type { Call } from './http-server.ts';
import { jobView, jobViewWithOutput, unknownJob } from './job-view.ts';
import { toText } from './output.ts';
import type { Outputs } from './outputs.ts';
import { Refusal } from './refusal.ts';
import { isOver, type Job, type Registry } from './registry.ts';

const DEFAULT_LOG_BYTES = 256 * 1024;
const MAX_LOG_BYTES = 1024 * 1024;
/** A start takes some tens of milliseconds: waiting for it lets the reply say that the command runs. */
const START_MS = 2000;
/** Base's `sync` holds the reply for as long as the command takes; timers end at 24 days. */
const FOR_EVER_MS = 2 ** 31 - 1;

const run = Compile(RunRequest);
const status = Compile(StatusRequest);
const cancelBody = Compile(CancelRequest);

export interface RouteDeps {
  ping: () => PingReply;
  accept: (id: string, request: RunRequest) => Promise<Accepted>;
  cancel: (id: string, request: CancelRequest, gone: AbortSignal) => Promise<Job>;
  registry: Pick<Registry, 'get' | 'live' | 'cursor' | 'changedSince' | 'waitUntil'>;
  outputs: Pick<Outputs, 'size' | 'read' | 'tail'>;
  /** Aborts when the agent closes: held replies are then sent as things stand. */
  closing: AbortSignal;
}

export function createRoutes(deps: RouteDeps): (call: Call) => Promise<object> {
  const { registry } = deps;

  return async (call) => {
    const [, verb, id, ...rest] = call.path.split('/');
    if (rest.length > 0) throw notFound();
    if (id === undefined) {
      if (verb === 'ping') return post(call) && deps.ping();
      if (verb === 'run') return post(call) && runJob(check(run, call.body), call.gone);
      if (verb === 'status') return post(call) && statusOfMany(check(status, call.body), call.gone);
      throw notFound();
    }
    if (!LAUNCH_TOKEN.test(id))
      throw new Refusal(422, 'invalid_request', 'a job_id is 1 to 64 of A-Z a-z 0-9 _ -');
    if (verb === 'status') return get(call) && statusOfOne(id);
    if (verb === 'logs') return get(call) && logs(id, call.query);
    if (verb === 'cancel')
      return post(call) && jobView(await deps.cancel(id, check(cancelBody, call.body ?? {}), call.gone));
    throw notFound();
  };

  async function runJob(request: RunRequest, gone: AbortSignal): Promise<object> {
    if (deps.closing.aborted) throw new Refusal(503, 'draining', 'this agent is stopping');
    const id = request.job_id ?? randomUUID();
    const active = runningWithKey(request, id);
    if (active) return { status: 'already_running', job_id: id, active_job_id: active };
    const { job, existing } = await deps.accept(id, request);
    const waits =
      request.sync === true && !request.use_tmux ? FOR_EVER_MS : (request.wait_seconds ?? 0) * 1000;
    const stop = AbortSignal.any([gone, deps.closing]);
    if (!existing) await registry.waitUntil(() => job.state !== 'accepted', START_MS, stop);
    if (waits > 0) await registry.waitUntil(() => isOver(job), waits, stop);
    const view = waits > 0 ? await jobViewWithOutput(job, deps.outputs) : jobView(job);
    // Base's word for a start that was accepted is `running`.
    if (view.status === 'starting') view.status = 'running';
    if (existing && request.skip_if_running && !isOver(job)) view.status = 'already_running';
    return existing ? { ...view, existing: true } : view;
  }

  function runningWithKey(request: RunRequest, id: string): string | undefined {
    if (request.dedup_key === undefined) return undefined;
    const same = registry.live().find((job) => job.record.dedup_key === request.dedup_key);
    return same && same.record.job_id !== id ? same.record.job_id : undefined;
  }

  async function statusOfMany(request: StatusRequest, gone: AbortSignal): Promise<object> {
    const { job_ids: ids, cursor, wait_seconds: waitSeconds = 0 } = request;
    if (cursor !== undefined && waitSeconds > 0) {
      const stop = AbortSignal.any([gone, deps.closing]);
      await registry.waitUntil(() => registry.changedSince(ids, cursor), waitSeconds * 1000, stop);
    }
    const jobs = ids.map((id): AgentJob => {
      const job = registry.get(id);
      return job ? jobView(job) : unknownJob(id);
    });
    return { jobs, cursor: registry.cursor() };
  }

  async function statusOfOne(id: string): Promise<AgentJob> {
    const job = registry.get(id);
    return job ? jobViewWithOutput(job, deps.outputs) : { ...unknownJob(id), stdout: '', stderr: '' };
  }

  async function logs(id: string, query: URLSearchParams): Promise<LogsReply> {
    const job = registry.get(id);
    if (!job) throw new Refusal(404, 'not_found', 'there is no such job');
    if (job.cleared) throw new Refusal(404, 'not_found', 'the output of this job was cleared away');
    const stream = query.get('stream') ?? 'stdout';
    if (stream !== 'stdout' && stream !== 'stderr')
      throw new Refusal(422, 'invalid_request', 'stream is stdout or stderr');
    const offset = count(query, 'offset', 0, Number.MAX_SAFE_INTEGER);
    const limit = count(query, 'limit', DEFAULT_LOG_BYTES, MAX_LOG_BYTES);
    // Whether it is over is looked at before the size: what is written in between is then still to come, not missed.
    const isEnded = isOver(job);
    const end = deps.outputs.size(job, stream);
    const found = await deps.outputs.read(job, stream, { offset, limit });
    const { data, encoding } = toText(found.bytes);
    const next = found.offset + found.bytes.length;
    // Its own user may have cut the file since: where nothing is left to read, a reader must not wait for it.
    const eof = isEnded && (next >= end || (limit > 0 && found.bytes.length === 0));
    const skipped = found.offset > offset && { offset: found.offset };
    return { data, ...(encoding && { encoding }), ...skipped, next, eof };
  }
}

function check<T>(
  schema: {
    Check(value: unknown): value is T;
    Errors(value: unknown): { instancePath: string; message: string }[];
  },
  body: unknown,
): T {
  if (schema.Check(body)) return body;
  const error = schema.Errors(body)[0];
  throw new Refusal(
    422,
    'invalid_request',
    `${error?.instancePath || 'the body'} ${error?.message ?? 'is not valid'}`,
  );
}

function count(query: URLSearchParams, name: string, fallback: number, max: number): number {
  const text = query.get(name);
  if (text === null) return fallback;
  const value = Number(text);
  if (!/^\d{1,16}$/.test(text) || value > max)
    throw new Refusal(422, 'invalid_request', `${name} is a number up to ${max}`);
  return value;
}

function post(call: Call): true {
  return method(call, 'POST');
}

function get(call: Call): true {
  return method(call, 'GET');
}

function method(call: Call, expected: string): true {
  if (call.method === expected) return true;
  throw new Refusal(405, 'method_not_allowed', `this path takes ${expected}`);
}

const notFound = () => new Refusal(404, 'not_found', 'there is no such path');
