/**
 * Contact with hosts: whom to dial, what is known of the agent there, and what each request's success or failure
 * says about the host. A host's trouble is recorded here (and by `:check`, which asks on purpose); it is never a
 * job's.
 */
import type { Logger } from 'pino';
import { type AgentPort, type DialHost, dialHost } from '../job/agent-port.ts';
import { isOfStartsAlone, pauseAskedMs } from '../job/circuit.ts';
import { type ErrorCode, SluiceError } from '../job/errors.ts';
import { type AgentFacts, type HostConfig, type HostHealth, rateOf } from '../job/host.ts';
import { MISCONFIGURED } from '../job/remedies.ts';
import type { Budget, RequestClass } from '../store/budget.ts';
import type { Followed } from '../store/followed.ts';
import type { HostFailure } from '../store/hosts/health.ts';
import type { HostStore } from '../store/hosts.ts';
import type { Wake } from '../store/queues.ts';

/** How long what `/ping` said is believed while all goes well, in ms. */
const FACTS_MS = 60_000;

export interface Target extends DialHost {
  config: HostConfig;
  health: HostHealth;
}

export interface Contact {
  /** Null if the host is no longer registered. */
  target(host: string): Promise<Target | null>;
  /** What the agent there can do, where that is believed without asking. */
  known(target: Target): AgentFacts | null;
  /** What the agent there can do; asked anew when it is old news, after a failure, or when `fresh`. */
  facts(target: Target, options?: { fresh?: boolean }): Promise<AgentFacts>;
  /**
   * Makes requests and records what they say about the host; rejects with what they reject with, or with
   * `host_busy` where the host's budget had no room.
   * @param request makes them with the `DialHost` that it is given, through which each is paid for
   * @param options.paid the first one is paid for already: a start's, by the take of its job
   */
  attempt<T>(
    target: Target,
    what: Attempt,
    request: (dial: DialHost) => Promise<T>,
    options?: { paid?: boolean },
  ): Promise<T>;
}

/** What requests are made for, by which they share the host's budget. */
const CLASSES = {
  ping: 'start',
  prepare: 'start',
  run: 'start',
  cancel: 'start',
  /** What became of a start. */
  reconcile: 'start',
  status: 'follow',
  logs: 'follow',
} as const satisfies Record<string, RequestClass>;
export type Attempt = keyof typeof CLASSES;

/**
 * How long a request waits for its token, in ms. What a claimed start needs must not fail in the middle for want of
 * one, nor the output of a job that ended; a question is put off instead, and leaves its place to another host.
 */
const PATIENCE_MS: Record<Attempt, number> = {
  ping: 600_000,
  prepare: 600_000,
  run: 600_000,
  cancel: 600_000,
  reconcile: 600_000,
  status: 2_000,
  logs: 60_000,
};

export function createContact(deps: {
  hosts: Pick<
    HostStore,
    'get' | 'health' | 'openToken' | 'contacted' | 'failed' | 'pause' | 'pauseStarts' | 'pin'
  >;
  followed: Pick<Followed, 'askAllNow'>;
  agents: Pick<AgentPort, 'ping'>;
  budget: Pick<Budget, 'pay'>;
  wake: Pick<Wake, 'dispatch' | 'follow'>;
  log: Logger;
}): Contact {
  const { hosts, followed, agents, budget, wake, log } = deps;

  async function attempt<T>(
    target: Target,
    what: Attempt,
    request: (dial: DialHost) => Promise<T>,
    { paid = false } = {},
  ): Promise<T> {
    const dial = paying(target, what, paid);
    const began = performance.now();
    const line = () => ({ host: target.name, what, ms: Math.round(performance.now() - began) });
    try {
      const result = await request(dial);
      await contacted(target);
      log.debug(line(), `agent.${what}.attempted`);
      return result;
    } catch (error) {
      // No room in the budget is ours, and says nothing about the host.
      if (!(error instanceof SluiceError) || error.code === 'host_busy') throw error;
      log.warn({ ...line(), code: error.code, detail: error.message }, `agent.${what}.attempted`);
      await recordFailure(target, what, error, performance.now() - began);
      throw error;
    }
  }

  function paying(target: Target, what: Attempt, paid: boolean): DialHost {
    const rate = rateOf(target.config, target.health.agent);
    if (rate === null) return target;
    let isPaid = paid;
    const purpose = CLASSES[what];
    return {
      ...target,
      async beforeRequest() {
        if (!isPaid) await budget.pay(target.name, rate, { for: purpose, patienceMs: PATIENCE_MS[what] });
        isPaid = false;
      },
    };
  }

  /** A host that answers again has jobs that wait for it. */
  async function contacted(target: Target, facts?: AgentFacts): Promise<void> {
    const { health } = target;
    if (!facts && health.status === 'up' && isRecent(health)) return;
    const last_contact_at = health.seen_at;
    // At once: of several requests that end together one writes it down.
    if (health.status === 'up') target.health = { ...health, last_contact_at };
    const wasAway = await hosts.contacted(target.name, facts);
    target.health = { ...target.health, status: 'up', failures: 0, retry_at: null, last_contact_at };
    if (!wasAway) return;
    log.info({ host: target.name }, 'host.up');
    await followed.askAllNow(target.name);
    await Promise.all([wake.dispatch(target.name), wake.follow(target.name)]);
  }

  async function recordFailure(
    target: Target,
    what: Attempt,
    error: SluiceError,
    tookMs: number,
  ): Promise<void> {
    const remedy = MISCONFIGURED[error.code];
    if (isOfStartsAlone(error) && ['prepare', 'run', 'cancel'].includes(what)) {
      await hosts.pauseStarts(target.name, pauseAskedMs(error), error.message);
    } else if (error.code === 'agent_busy') {
      await hosts.pause(target.name, pauseAskedMs(error));
    } else if (remedy) {
      await failed(target, { status: 'misconfigured', cause: error.message, remedy, tookMs });
    } else if (
      SILENCES.has(error.code) ||
      // A question that this agent cannot answer says nothing about the host; a ping or a start does.
      (BROKEN.has(error.code) && ['ping', 'prepare', 'run'].includes(what))
    ) {
      await failed(target, { status: 'unreachable', cause: error.message, remedy: null, tookMs });
    } else {
      await contacted(target);
    }
  }

  async function failed(target: Target, failure: HostFailure): Promise<void> {
    const { status, cause, remedy } = failure;
    const retryAt = await hosts.failed(target.name, failure);
    target.health = { ...target.health, failures: target.health.failures + 1, retry_at: retryAt };
    if (target.health.failures === 1) log.warn({ host: target.name, status, cause, remedy }, 'host.failing');
  }

  return {
    attempt,
    async target(name) {
      // The health first: a configuration may be newer than the revision that it is held to, never older.
      const [health, config] = await Promise.all([hosts.health(name), hosts.get(name)]);
      if (!config) return null;
      return { ...dialHost(config, health, hosts.openToken(config)), config, health };
    },
    known,
    async facts(target, { fresh = false } = {}) {
      const believed = fresh ? null : known(target);
      if (believed) return believed;
      const { facts, fingerprint } = await attempt(target, 'ping', (dial) => agents.ping(dial));
      if (fingerprint && 'pin' in target.tls && target.pinned_fingerprint === null) {
        await hosts.pin(target.name, fingerprint, { replace: false });
        target.pinned_fingerprint = fingerprint;
      }
      await contacted(target, facts);
      target.health.agent = facts;
      return facts;
    },
  };
}

function known({ health }: Target): AgentFacts | null {
  const { agent, failures } = health;
  return agent && failures === 0 && Date.now() - agent.at < FACTS_MS ? agent : null;
}

function isRecent({ last_contact_at: time, seen_at }: HostHealth): boolean {
  return time !== null && seen_at - time < 5_000;
}

/** Failures in which the host did not answer, or nothing that an agent would. */
const SILENCES = new Set<ErrorCode>(['agent_unreachable', 'agent_reply_lost']);
/** Answers that are none. */
const BROKEN = new Set<ErrorCode>(['agent_failed', 'agent_reply_invalid']);
