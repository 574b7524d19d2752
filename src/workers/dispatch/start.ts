/**
 * Starting one job: the launch token is committed before anything is sent, and a start whose reply was lost is
 * settled by the same start again, never by a new one.
 */
import type { Logger } from 'pino';
import type { AgentPort, DialHost } from '../../job/agent-port.ts';
import { SluiceError } from '../../job/errors.ts';
import { type AgentFacts, rateOf } from '../../job/host.ts';
import { outcome } from '../../job/outcome.ts';
import { type Job, launchToken, type Starter } from '../../job/record.ts';
import { bucketOf } from '../../store/budget.ts';
import type { JobStore } from '../../store/jobs.ts';
import type { Wake } from '../../store/queues.ts';
import type { Commit } from '../commit.ts';
import type { Contact, Target } from '../contact.ts';
import type { BatchGate } from './batch-gate.ts';
import type { CommitStart } from './commit-start.ts';
import type { Deadline } from './deadline.ts';
import type { StartFailure } from './failure.ts';

/**
 * How long a Full agent may hold the reply for a short command, in seconds. Until then the record says
 * `dispatching`: of a `sync` job its caller wants the end, of the others people want to see that they run.
 */
const HELD_START_SECONDS = { sync: 2, async: 0.3, tmux: 0.3 } as const;

/**
 * How much longer than it is paid for a start may take until it is sent, in ms. The first part is free, the rest, until the
 * host's rate would let the next request come, is owed: the next ones come later by as much. What was held up for longer (by
 * a ping, by the launcher's probe) would go out together with others, beyond what the rate allows, and pays again.
 */
const GRACE_MS = { free: 100, most: 1_000 };

/** A start that goes out so soon after its move is not looked at again, in ms: no cancel is delivered before it arrives. */
const PROMPT_MS = 1_000;

/** `againInMs` null: the job needs no further start. */
export type Start = (
  target: Target,
  facts: AgentFacts,
  /** As of its claim; null if it has no record any more. */
  job: Job | null,
  options: {
    alone: boolean;
    /** When its claim moved it to `dispatching`, by `performance.now()`; null where it did not. */
    begunAt: number | null;
    /** Until when its claim has paid for the start, by `performance.now()`. */
    paidUntil: number;
    /** It goes out so much later than it is paid for and may be for nothing, in ms. */
    onLate: (ms: number) => void;
    /** Whether the claim is still held; asks the store only where it may have lapsed. */
    isOurs: () => Promise<boolean>;
  },
) => Promise<{ againInMs: number | null }>;

/** What the record says of the move to `dispatching`. */
export const whyStarting = (attempt: number) => `starting attempt ${attempt}`;

export function createStart(deps: {
  jobs: Pick<JobStore, 'get' | 'transition' | 'note' | 'now'>;
  agents: Pick<AgentPort, 'prepare' | 'start'>;
  contact: Pick<Contact, 'attempt' | 'facts'>;
  /** Opens a job's environment. */
  openEnv: (job: Job) => { env: Record<string, string>; secret_env: Record<string, string> };
  commitStart: CommitStart;
  commit: Commit;
  wake: Pick<Wake, 'follow'>;
  deadline: Deadline;
  batchGate: BatchGate;
  startFailed: StartFailure;
  log: Logger;
}): Start {
  const { jobs, agents, contact, openEnv, commitStart, commit, wake, deadline, batchGate, startFailed, log } =
    deps;

  return async (target, facts, job, options) => {
    if (!(await options.isOurs())) throw lapsed();
    if (job?.state === 'queued') return firstStart(target, facts, job, options);
    if (job?.state !== 'dispatching') return { againInMs: null };
    if (options.begunAt === null) return startAgain(target, job);
    return sendFirst(target, facts, job, { ...options, movedAt: options.begunAt });
  };

  async function firstStart(target: Target, facts: AgentFacts, job: Job, options: Parameters<Start>[3]) {
    if (await deadline.passedBeforeStart(job)) return { againInMs: null };
    const refusal = refused(job, openEnv(job), facts, target.launcher);
    if (refusal) {
      await reject(job, refusal);
      return { againInMs: null };
    }
    const started_by = starter(facts, target.launcher);
    let launcher_dir: string | null = job.launcher_dir;
    try {
      launcher_dir ??= await contact.attempt(target, 'prepare', (dial) =>
        agents.prepare(dial, facts, job.job_user),
      );
    } catch (error) {
      return startFailed.beforeSending(target, job, error);
    }
    const attempt = Math.max(job.attempt, 1);
    const token = launchToken({ id: job.id, attempt });
    const movedAt = performance.now();
    const dispatching = await commitStart(job, {
      attempt,
      started_by,
      launcher_dir,
      store_id: facts.store_id,
      agent_job_id: token,
      dispatched_at: await jobs.now(),
      why: whyStarting(attempt),
    });
    if ('againInMs' in dispatching) return dispatching;
    return sendFirst(target, facts, dispatching, { ...options, movedAt });
  }

  async function sendFirst(
    target: Target,
    facts: AgentFacts,
    dispatching: Job,
    { alone, paidUntil, onLate, isOurs, movedAt }: Parameters<Start>[3] & { movedAt: number },
  ) {
    // This worker stood still in between, and another one may have told already that it did not start.
    if (!(await isOurs())) throw lapsed();
    const waitSeconds = alone ? HELD_START_SECONDS[dispatching.mode] : 0;
    const lateMs = performance.now() - paidUntil;
    const { intervalMs } = bucketOf(rateOf(target.config, facts));
    const paid = lateMs < Math.min(Math.max(intervalMs, GRACE_MS.free), GRACE_MS.most);
    if (paid && lateMs > GRACE_MS.free) onLate(lateMs - GRACE_MS.free);
    return send(target, dispatching, {
      ...{ again: false, waitSeconds, paid },
      look: () => lookFirst(dispatching, { movedAt, isOurs }),
    });
  }

  /**
   * Held up by a slow store, or for want of another token: a cancel may have been delivered meanwhile, which found
   * nothing on the host. From here on it is counted anew in what time the start may arrive.
   */
  async function lookFirst(
    job: Job,
    { movedAt, isOurs }: { movedAt: number; isOurs: () => Promise<boolean> },
  ): Promise<void> {
    if (performance.now() - movedAt < PROMPT_MS) return;
    if (!(await isOurs())) throw lapsed();
    const isAsItWas = await jobs.note(job, { dispatched_at: await jobs.now() });
    if (!isAsItWas) throw new SluiceError('host_busy', 'it was moved while its start waited');
    await lookAtBatch(job);
  }

  async function lookAtBatch(job: Job): Promise<void> {
    if (await batchGate.isShut(job)) {
      throw new SluiceError('host_busy', 'its batch has ceased to start jobs while its start waited');
    }
  }

  /** Its reply was lost, or the worker that sent it died: who answers there is asked before it is sent again. */
  async function startAgain(target: Target, job: Job) {
    try {
      const { kind } = await contact.facts(target, { fresh: true });
      // A Base agent that took a Full one's place would start the command anew with every repetition.
      if (job.started_by === 'full' && kind !== 'full') return startFailed.cannotBeSettled(job);
      if (await deadline.passedWhileDispatching(target, job)) return { againInMs: null };
      const held = await batchGate.holdsBack(target, job);
      if (held) return held;
    } catch (error) {
      return startFailed.unanswered(target, job, error);
    }
    if (job.started_by === 'base') return startFailed.cannotBeRepeated(target, job);
    log.info({ job: job.id, host: job.host, token: launchToken(job) }, 'job.start_repeated');
    return send(target, job, { again: true, waitSeconds: 0, paid: false, look: () => lookAtBatch(job) });
  }

  async function send(target: Target, job: Job, { again, waitSeconds, paid, look }: Sending) {
    const order = { job, token: launchToken(job), ...openEnv(job), wait_seconds: waitSeconds };
    let started: Awaited<ReturnType<AgentPort['start']>>;
    try {
      started = await contact.attempt(target, 'run', (dial) => agents.start(looking(dial, look), order), {
        paid,
      });
    } catch (error) {
      if (!(error instanceof SluiceError)) throw error;
      return again ? startFailed.onRepeated(target, job, error) : startFailed.onFirst(target, job, error);
    }
    const { agent_job_id } = started;
    if ((await commit(target, job, started.report, { agent_job_id })) === false) {
      await tellFollower(job, agent_job_id);
    }
    return { againInMs: null };
  }

  /** A cancel came while it was being started, or it was given up: who asks about it needs the agent's own id. */
  async function tellFollower({ id, attempt }: Job, agent_job_id: string): Promise<void> {
    const now = await jobs.get(id);
    if (now?.attempt !== attempt || (now.state !== 'canceling' && now.state !== 'lost')) return;
    // That it was started is for who waits to cancel it: a start that is still on its way would come after the cancel.
    await jobs.note(now, { agent_job_id, started_at: now.started_at ?? (await jobs.now()) });
    await wake.follow(now.host);
  }

  async function reject(job: Job, message: string): Promise<void> {
    await jobs.transition(job, 'queued', 'failed', {
      outcome: outcome('rejected', { message }),
      why: message,
    });
  }
}

interface Sending {
  again: boolean;
  waitSeconds: number;
  paid: boolean;
  /** Rejects where it must not be sent any more: it may have waited for a token. */
  look: () => Promise<void>;
}

/** Looks before the start itself; what the agent is asked afterwards goes through. */
function looking(dial: DialHost, look: () => Promise<void>): DialHost {
  let isSent = false;
  return {
    ...dial,
    async beforeRequest() {
      await dial.beforeRequest?.();
      if (isSent) return;
      isSent = true;
      await look();
    },
  };
}

/** Whoever has the job by now goes on from its record; here nothing more may come of it. */
const lapsed = () => new Error('the claim on its start has lapsed');

function starter(facts: AgentFacts, launcher: boolean): Starter {
  if (facts.kind === 'full') return 'full';
  return launcher ? 'base+launcher' : 'base';
}

/** What the agent cannot do is never ignored. */
function refused(
  job: Job,
  { env, secret_env }: { env: object; secret_env: object },
  facts: AgentFacts,
  launcher: boolean,
): string | null {
  const full = facts.kind === 'full';
  const can = (capability: string) => (full ? facts.capabilities.includes(capability) : launcher);
  if (job.mode === 'tmux' && full && !can('tmux')) return "mode: the host's agent has no tmux";
  if (job.workdir !== null && !can('workdir')) return 'workdir: the agent does not support it';
  if (job.shell !== null && !can('shell')) return 'shell: the agent does not support it';
  if (job.leftovers === 'kill' && !can('leftovers')) return 'leftovers: the agent does not support it';
  if (Object.keys(env).length > 0 && !full && !launcher) return 'env: the agent does not support it';
  if (Object.keys(secret_env).length > 0 && !(full && can('secret_env'))) {
    return 'secret_env: the agent cannot keep it out of sight';
  }
  return null;
}
