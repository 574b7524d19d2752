/**
 * `POST /cancel/{id}`: stops a job's whole process tree, or makes sure that it will never start.
 *
 * Every job here is some gateway's launch token: for an id never seen a tombstone is written, so that a start that
 * is still on its way finds it. So it is for one that certifiably never began, which a start would begin anew. Any
 * other job that is over stays as it was. A job of another store gets no tombstone: that would read as the proof
 * that it never began, while its processes run on.
 */
import { constants } from 'node:os';
import { join } from 'node:path';
import type { CancelRequest } from '../protocol/agent.ts';
import { writeFileDurably } from './durable-file.ts';
import type { Follow } from './follow.ts';
import type { JobRecord } from './job-files.ts';
import type { Logger } from './log.ts';
import type { Outcome } from './outcome.ts';
import { readHostileFile } from './output.ts';
import { Refusal, refuseForAnotherStore } from './refusal.ts';
import { isOver, type Job, type Registry } from './registry.ts';
import type { Spool } from './spool.ts';
import type { Supervisor } from './supervisor.ts';
import type { Turns } from './turns.ts';

const DEFAULT_GRACE_SECONDS = 10;
/** After the ladder has ended the supervisor publishes within milliseconds; a tree that cannot die may keep it. */
const PUBLISH_MS = 5000;

export interface CancelDeps {
  spool: Pick<Spool, 'storeId' | 'jobDir' | 'publish' | 'remove'>;
  registry: Pick<Registry, 'get' | 'add' | 'over' | 'forget' | 'waitUntil'>;
  supervisor: Pick<Supervisor, 'stop'>;
  follow: Follow;
  inTurn: Turns;
  log: Logger;
  bootId: string;
}

export function createCancel(deps: CancelDeps) {
  /** @returns the job, over or not: its record then says what is left */
  return async function cancel(id: string, request: CancelRequest, gone: AbortSignal): Promise<Job> {
    const signal = signalName(request.signal ?? 'TERM');
    refuseForAnotherStore(request, deps.spool.storeId);
    const job = await deps.inTurn(id, () => knownOrEntombed(id));
    if (isOver(job)) return withoutTheGone(job);
    const graceSeconds = request.grace_seconds ?? DEFAULT_GRACE_SECONDS;
    deps.log.info({ job_id: id, signal }, 'job.cancel.asked');
    await deps.supervisor.stop(id, 'canceled', signal, graceSeconds);
    await deps.follow(job);
    await deps.registry.waitUntil(() => isOver(job), PUBLISH_MS, gone);
    return neverRan(job) ? cancel(id, request, gone) : job;
  };

  /** What a stop could not kill, a process that hung in its kernel say, is tried again, and told as it is now. */
  async function withoutTheGone(job: Job): Promise<Job> {
    const { job_id: id } = job.record;
    const { outcome } = job;
    if (!outcome || outcome.remainingPids.length === 0) return job;
    await deps.supervisor.stop(id, 'canceled', 'KILL', 0);
    const left = readHostileFile(join(deps.spool.jobDir(id), 'left'), 4096);
    if (left === null) return job;
    const pids = left.split('\n').filter(Boolean).map(Number);
    const now = { ...outcome, remainingPids: pids.slice(0, 40), leftoverProcesses: pids.length };
    writeFileDurably(join(deps.spool.jobDir(id), 'result.json'), JSON.stringify(now));
    deps.registry.over(job, now);
    return job;
  }

  async function knownOrEntombed(id: string): Promise<Job> {
    const known = deps.registry.get(id);
    if (known && !neverRan(known)) return known;
    if (known) {
      await deps.spool.remove(id);
      deps.registry.forget(id);
    }
    return entomb(id);
  }

  async function entomb(id: string): Promise<Job> {
    const now = new Date().toISOString();
    const record = tombstone(id, now, deps.bootId);
    const outcome = neverStarted(now);
    const self = { uid: process.getuid?.() ?? 0, gid: process.getgid?.() ?? 0 };
    const files = [
      { path: 'job.json', content: JSON.stringify(record), mode: 0o600 },
      { path: 'result.json', content: JSON.stringify(outcome), mode: 0o600 },
    ];
    const published = await deps.spool.publish(id, files, self);
    if (!published) throw new Refusal(409, 'job_id_conflict', 'the spool holds a damaged job of this id');
    return deps.registry.add({ record, state: 'ended', startedAt: null, outcome });
  }
}

const neverRan = (job: Job) => job.outcome?.reason === 'never_ran';

function signalName(asked: string): string {
  const name = asked.replace(/^SIG/, '');
  if (!(`SIG${name}` in constants.signals))
    throw new Refusal(422, 'invalid_request', `there is no signal ${asked}`);
  return name;
}

function tombstone(id: string, now: string, bootId: string): JobRecord {
  return {
    job_id: id,
    accepted_at: now,
    boot_id: bootId,
    request_hash: '',
    user: '',
    timeout_seconds: null,
    has_secrets: false,
    dedup_key: null,
    socket: null,
    attach_command: null,
    tombstone: true,
  };
}

function neverStarted(now: string): Outcome {
  return {
    state: 'ended',
    reason: 'canceled',
    returnCode: null,
    signal: null,
    message: 'cancelled before it was started',
    startedAt: null,
    endedAt: now,
    stdoutBytes: 0,
    stderrBytes: 0,
    stdoutSha256: null,
    stderrSha256: null,
    proof: 'group+marker',
    remainingPids: [],
    leftoverProcesses: 0,
  };
}
