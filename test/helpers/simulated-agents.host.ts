/**
 * One simulated host: what a Full agent answers about jobs that are nothing but a time, and a count of all that was
 * asked. Nothing is run: `sleep 2` ends 2 s after its start, `sleep 3-7` after 3 to 7 s, `exit 3` at once with 3, everything
 * else at once with 0.
 *
 * A token is executed once, as with the real agent; whether one job was executed under two tokens is for whoever
 * reads `starts` to find out.
 */
import { EventEmitter } from 'node:events';
import type {
  AgentJob,
  CancelRequest,
  PingReply,
  RunRequest,
  StatusRequest,
} from '../../src/protocol/agent.ts';
import { CAPABILITIES, PROTOCOL } from '../../src/protocol/agent.ts';
import { createCounters, now } from './simulated-agents.counters.ts';

export interface Answer {
  status: number;
  body: object;
}

interface SimulatedJob {
  token: string;
  command: string;
  startedAt: number;
  endedAt: number | null;
  returnCode: number;
  canceled: boolean;
  /** The number of its last change. */
  changed: number;
}

export type SimulatedHost = ReturnType<typeof createSimulatedHost>;

/** @param name makes its ids its own */
export function createSimulatedHost({ name, periodMs }: { name: string; periodMs: number }) {
  const jobs = new Map<string, SimulatedJob>();
  const tombstones = new Set<string>();
  const counters = createCounters(periodMs);
  const changes = new EventEmitter().setMaxListeners(0);
  let sequence = 0;
  let isSpoilt = false;

  function run(request: RunRequest): SimulatedJob & { existing: boolean } {
    const token = request.job_id as string;
    if (request.expect_store_id !== undefined && request.expect_store_id !== `store-${name}`) {
      throw new Refused(409, 'store_changed');
    }
    if (tombstones.has(token)) throw new Refused(409, 'canceled_before_start');
    const known = jobs.get(token);
    if (known && known.command !== request.command) throw new Refused(409, 'job_id_conflict');
    if (known) {
      counters.repeated();
      return { ...known, existing: true };
    }
    return { ...execute(token, request.command), existing: false };
  }

  function execute(token: string, command: string): SimulatedJob {
    const at = counters.executed(token);
    const [, least = 0, most = least] = /^sleep ([\d.]+)(?:-([\d.]+))?$/.exec(command) ?? [];
    const lastsMs = (Number(least) + Math.random() * (Number(most) - Number(least))) * 1_000;
    const returnCode = isSpoilt ? 1 : Number(/^exit (\d+)$/.exec(command)?.[1] ?? 0);
    const job = { token, command, startedAt: at, endedAt: null, returnCode, canceled: false, changed: 0 };
    jobs.set(token, job);
    if (lastsMs > 0) setTimeout(() => end(job), lastsMs);
    else end(job);
    return job;
  }

  function end(job: SimulatedJob): void {
    if (job.endedAt !== null) return;
    job.endedAt = now();
    job.changed = ++sequence;
    counters.ended();
    changes.emit('change');
  }

  /** Resolves once `condition` holds, at the latest after `ms` or when the client is gone. */
  function until(condition: () => boolean, ms: number, gone: AbortSignal): Promise<void> {
    return new Promise((resolve) => {
      const timer = setTimeout(finish, ms);
      const check = () => condition() && finish();
      function finish(): void {
        clearTimeout(timer);
        changes.off('change', check);
        gone.removeEventListener('abort', finish);
        resolve();
      }
      changes.on('change', check);
      gone.addEventListener('abort', finish);
      if (gone.aborted) finish();
      else check();
    });
  }

  return {
    counters,
    /** From now on every command ends with 1, after its time. */
    spoil: () => {
      isSpoilt = true;
    },

    ping(): PingReply {
      const ids = { boot_id: `boot-${name}`, store_id: `store-${name}` };
      const time = new Date().toISOString();
      return {
        status: 'ok',
        time,
        protocol: PROTOCOL,
        version: 'simulated',
        ...ids,
        capabilities: [...CAPABILITIES],
      };
    },

    async run(request: RunRequest, gone: AbortSignal): Promise<Answer> {
      const { token, existing } = run(request);
      const waitMs = (request.wait_seconds ?? 0) * 1_000;
      const job = jobs.get(token)!;
      if (waitMs > 0) await until(() => job.endedAt !== null, waitMs, gone);
      const output = waitMs > 0 ? { stdout: '', stderr: '' } : {};
      return ok({ ...view(job), ...output, ...(existing && { existing }) });
    },

    /** Held where it asks to be: `wait_seconds` with a cursor. */
    async statusOfMany(
      { job_ids, cursor, wait_seconds = 0 }: StatusRequest,
      gone: AbortSignal,
    ): Promise<Answer> {
      if (cursor !== undefined && wait_seconds > 0) {
        const since = Number(cursor);
        const changed = () => job_ids.some((id) => (jobs.get(id)?.changed ?? 0) > since);
        await until(changed, wait_seconds * 1_000, gone);
      }
      return ok({ jobs: job_ids.map(viewOf), cursor: `${sequence}` });
    },

    statusOfOne: (id: string): Answer => ok({ ...viewOf(id), stdout: '', stderr: '' }),

    logs(id: string): Answer {
      const job = jobs.get(id);
      return job ? ok({ data: '', next: 0, eof: job.endedAt !== null }) : refusal(404, 'not_found');
    },

    /** Ends the job at once; a token never seen gets a tombstone, so that a start that comes late starts nothing. */
    cancel(id: string, _request: CancelRequest): Answer {
      const job = jobs.get(id);
      if (job && job.endedAt === null) {
        job.canceled = true;
        end(job);
      }
      if (!job) tombstones.add(id);
      return ok(viewOf(id));
    },
  };

  function viewOf(id: string): AgentJob {
    if (tombstones.has(id))
      return { ...OVER, job_id: id, status: 'cancelled', reason: 'canceled', return_code: null };
    const job = jobs.get(id);
    return job ? view(job) : { job_id: id, status: 'unknown', return_code: null, state: 'unknown' };
  }
}

/** @throws by `run`: what the agent would answer */
export class Refused extends Error {
  readonly answer: Answer;
  constructor(status: number, code: string) {
    super(code);
    this.answer = refusal(status, code);
  }
}

export const refusal = (status: number, code: string): Answer => ({ status, body: { error: code } });

const ok = (body: object): Answer => ({ status: 200, body });

const OVER = { state: 'ended', stdout_bytes: 0, stderr_bytes: 0, proof: 'cgroup', remaining_pids: [] };

function view(job: SimulatedJob): AgentJob {
  const started_at = new Date(job.startedAt).toISOString();
  if (job.endedAt === null) {
    return { job_id: job.token, status: 'running', return_code: null, state: 'running', started_at };
  }
  return {
    ...OVER,
    job_id: job.token,
    status: job.canceled ? 'cancelled' : 'finished',
    reason: job.canceled ? 'canceled' : 'exit',
    return_code: job.canceled ? null : job.returnCode,
    signal: job.canceled ? 'TERM' : null,
    started_at,
    ended_at: new Date(job.endedAt).toISOString(),
  };
}
