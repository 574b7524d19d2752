/**
 * Draining one host's mailbox: takes jobs into slots and starts them, until nothing may start now. Any number of
 * drains of one host may run at once; the mailbox's script keeps the host's limit.
 */
import { setTimeout as pause } from 'node:timers/promises';
import type { Logger } from 'pino';
import { SluiceError } from '../../job/errors.ts';
import { type AgentFacts, pauseLeftMs, rateOf } from '../../job/host.ts';
import { LEASE_MS, whileRenewing } from '../../store/leases/renewal.ts';
import type { Beginning, Claim, Limit, Mailbox } from '../../store/mailbox.ts';
import type { Wake } from '../../store/queues.ts';
import type { InSlot } from '../../store/slots/in-slot.ts';
import type { Contact, Target } from '../contact.ts';
import { within } from '../within.ts';
import type { OnAccepted } from './acceptance.ts';
import { type Bell, createBell } from './bell.ts';
import type { Effort } from './effort.ts';
import { type Start, whyStarting } from './start.ts';
import { createStarts, type Starts } from './starts.ts';

/** How long a slot is waited for to ask an agent what it can. */
const PATIENCE_MS = 5_000;
/** A token that comes this soon is waited for where it is: a wake-up costs more than a place among the hosts at work. */
const STAY_MS = 250;
/** While this process is busy, so many of a host's jobs are taken at once, and started one after the other ... */
const IN_TURN = 4;
/** ... or so much later than the one before, in ms, where that takes its time. */
const TURN_MS = 500;
/** The longest sleep of a drain whose starts are under way, in ms. */
const LOOK_MS = 1_000;
/**
 * How long one host may be served while others wait for a place in this process, in ms, without the time in which it waited
 * for room itself: whoever has a connection goes on with it.
 */
const LONGEST_MS = 2_000;
/** The same with that time. */
const LONGEST_PLACE_MS = 10_000;
/** How long while starts wait for this process' core, in ms: another one, started to help, may have more of its own to give. */
const LONGEST_BUSY_MS = 30_000;
/** How often a drain that waits for this process' core says that the host is not forgotten, and for how long, in ms. */
const ATTENDED_MS = { every: 1_000, for: 2_000 };
/** The longest sleep on a wake-up that is set anew when it comes. */
const LONGEST_DELAY_MS = 3_600_000;

/** How long a host is taken to be as it was read, in ms: its changes, pauses and drains are seen by every take ... */
const TARGET_MS = 5_000;
/** ... and for how long where a take saw that it is not up: who believes it is does not report that it answers again. */
const NOT_UP_MS = 1_000;
/** How long a host that is not known, or whose token cannot be opened, is left alone. */
const UNKNOWN_MS = 60_000;

export type Drain = (host: string) => Promise<void>;

export function createDrain(deps: {
  mailbox: Pick<
    Mailbox,
    'take' | 'ready' | 'renew' | 'release' | 'owe' | 'giveBack' | 'putOff' | 'disarmIfEmpty'
  >;
  contact: Pick<Contact, 'target' | 'known' | 'facts'>;
  inSlot: InSlot;
  start: Start;
  effort: Pick<Effort, 'begin' | 'add' | 'end' | 'hasRoom' | 'isCrowded'>;
  wake: Pick<Wake, 'dispatch'>;
  onAccepted: OnAccepted;
  /** Hosts wait for a place to be drained in, and this process has none. */
  isCrowded: () => Promise<boolean>;
  /** A limit of the host kept a job that may start from being started; for metrics. */
  onLimited: (limit: Limit) => void;
  /** Whether a take may begin what it takes: not where more than its script must know of it before anything is sent. */
  takesBegin: boolean;
  /** Aborted when the process stops: nothing new is taken then. */
  stopping: AbortSignal;
  log: Logger;
}): Drain {
  const { mailbox, contact, inSlot, start, effort, wake, onAccepted, isCrowded, onLimited, takesBegin } =
    deps;
  const { stopping, log } = deps;

  return async (host) => {
    const bell = createBell();
    const unlisten = onAccepted(host, bell.ring);
    const starts = createStarts(bell.ring);
    try {
      await drain(host, starts, bell);
    } finally {
      unlisten();
      await starts.allDone();
      for (const claim of starts.settled()) await mailbox.release(host, claim);
      const lateMs = starts.lateMs();
      if (lateMs > 0) await mailbox.owe(host, lateMs);
    }
  };

  async function drain(host: string, starts: Starts, bell: Bell): Promise<void> {
    let target = await targetOf(host);
    const began = performance.now();
    let readAt = began;
    let waitedMs = 0;
    // It may be late already, for want of a place.
    if (!effort.hasRoom()) attend(host);
    while (target && !stopping.aborted) {
      const facts = contact.known(target) ?? (await factsIfWanted(target));
      if (facts === 'later') return;
      const { max_requests, max_jobs } = target.config;
      const limits = { max_requests, max_jobs, rate: rateOf(target.config, facts ?? target.health.agent) };
      waitedMs += await room(host);
      // The first one by itself: with its connection open, and every other host begun, the others go quicker. Where this
      // process is busy one after the other, too: a connection for each would cost both more than the start itself.
      const inTurn = effort.isCrowded();
      // What waits for its turn is paid for too early where the host has a rate.
      const atOnce = inTurn ? (limits.rate === null ? IN_TURN : 1) : max_requests;
      const most = starts.hasEnded() ? atOnce : 1;
      const takenAt = performance.now();
      const taken = await mailbox
        .take(host, limits, {
          leaseMs: LEASE_MS,
          most: facts ? most : 0,
          revision: target.health.revision,
          settled: starts.settled(),
          lateMs: starts.lateMs(),
          begin: facts ? beginning(facts) : null,
        })
        .finally(effort.end);
      if (taken.limit) onLimited(taken.limit);
      if (taken.revision !== target.health.revision) {
        // Its address, token or limits are others by now; what is under way goes on as it began.
        target = await targetOf(host);
        readAt = performance.now();
        continue;
      }
      const isRow = inTurn && taken.claims.length > 1;
      let turn: Promise<void> | null = null;
      for (const claim of taken.claims) {
        // Others that wait leave no time to hold a reply: the next one may need the slot, or its turn.
        const alone = taken.waiting === 0 && max_requests > 1 && !isRow;
        const options = { alone, takenAt, turn, onLate: starts.onLate };
        const started = startOne(target, facts as AgentFacts, claim, options);
        starts.add(claim, started);
        if (isRow) turn = Promise.resolve(turn).then(() => within(started, TURN_MS));
      }
      const lookInMs = taken.waiting > 0 ? taken.lookInMs : null;
      if (await isEnough(performance.now() - began, waitedMs)) {
        await starts.allDone();
        await lookAgain(host, 1);
        return;
      }
      if (taken.limit === 'rate' && lookInMs !== null && lookInMs <= STAY_MS) {
        // Nothing starts before its next token, whatever rings.
        await pause(lookInMs);
      } else if (starts.underWay() === 0 && taken.claims.length === 0) {
        if (lookInMs !== null) await lookAgain(host, lookInMs);
        return;
      } else if (isRow) {
        // All of them, so that as many are taken together again.
        await within(starts.allDone(), LOOK_MS);
      } else {
        // A place that came free or a resume wakes this drain, which is at work already: it looks for itself.
        await bell.rung(lookInMs === null ? null : Math.min(Math.max(lookInMs, 10), LOOK_MS));
      }
      if (performance.now() - readAt < (taken.isUp ? TARGET_MS : NOT_UP_MS)) continue;
      target = await targetOf(host);
      readAt = performance.now();
    }
  }

  /** Waits for room; meanwhile the sweep need not wake anybody else for this host. @returns how long, in ms */
  async function room(host: string): Promise<number> {
    const asked = performance.now();
    const attending = effort.hasRoom() ? undefined : setInterval(() => attend(host), ATTENDED_MS.every);
    await effort.begin().finally(() => clearInterval(attending));
    return performance.now() - asked;
  }

  /** Not waited for: where it is not noted, the host is looked at twice. */
  function attend(host: string): void {
    mailbox.putOff(host, ATTENDED_MS.for).catch(() => undefined);
  }

  /** A start that may have been sent is sent again: so not to agents that would start it twice. */
  function beginning({ kind, store_id }: AgentFacts): Beginning | null {
    if (!takesBegin || kind !== 'full' || store_id === null) return null;
    return { store_id, why: whyStarting(1) };
  }

  /** Whether others are to have their turn, or another process its part. */
  async function isEnough(servedMs: number, waitedMs: number): Promise<boolean> {
    if (servedMs > LONGEST_BUSY_MS && effort.isCrowded()) return true;
    return (servedMs - waitedMs > LONGEST_MS || servedMs > LONGEST_PLACE_MS) && (await isCrowded());
  }

  /** Null if the host is not known; jobs that wait for it all the same do so for their deadline, seldom looked at. */
  async function targetOf(host: string): Promise<Target | null> {
    const target = await contact.target(host).catch(async (error: unknown) => {
      await mailbox.putOff(host, UNKNOWN_MS);
      throw error;
    });
    if (target || (await mailbox.disarmIfEmpty(host))) return target;
    log.error({ host }, 'dispatch.host_unknown');
    await mailbox.putOff(host, UNKNOWN_MS);
    return null;
  }

  /** A host that was never seen, or that fails, is asked who it is before a job is risked on it. */
  async function factsIfWanted(target: Target): Promise<AgentFacts | 'later' | null> {
    // What waits for later is no reason to ask.
    if (pauseLeftMs(target.health) > 0 || (await mailbox.ready(target.name)) === 0) return null;
    try {
      return await inSlot(target.config, { patienceMs: PATIENCE_MS }, () => contact.facts(target));
    } catch (error) {
      if (!(error instanceof SluiceError)) throw error;
      log.debug({ host: target.name, code: error.code }, 'dispatch.host_not_ready');
      await lookAgain(target.name, Math.max(pauseLeftMs(target.health), 1_000));
      return 'later';
    }
  }

  /** @returns whether the slot may be freed: it was not given back with its job, nor left to its lease */
  async function startOne(
    target: Target,
    facts: AgentFacts,
    claim: Claim,
    options: { alone: boolean; takenAt: number; turn: Promise<void> | null; onLate: (ms: number) => void },
  ): Promise<boolean> {
    const { alone, takenAt, turn, onLate } = options;
    const host = target.name;
    const paidUntil = performance.now() + claim.paidForMs;
    let heldAt = takenAt;
    const renew = async () => {
      const askedAt = performance.now();
      const isHeld = await mailbox.renew(host, claim, LEASE_MS);
      if (isHeld) heldAt = askedAt;
      return isHeld;
    };
    const isOurs = async () => performance.now() - heldAt < LEASE_MS || renew();
    try {
      const begunAt = claim.begun ? takenAt : null;
      const { againInMs } = await whileRenewing(renew, async () => {
        if (turn) await turn;
        const job = claim.read();
        effort.add();
        return start(target, facts, job, { alone, paidUntil, onLate, isOurs, begunAt }).finally(effort.end);
      });
      if (againInMs !== null) await mailbox.giveBack(host, claim, againInMs);
      return againInMs === null;
    } catch (error) {
      // The slot's lease gives the job back, and the record says how far it got.
      log.error({ host, job: claim.id, err: error }, 'dispatch.failed');
      return false;
    }
  }

  async function lookAgain(host: string, inMs: number): Promise<void> {
    await wake.dispatch(host, Math.min(Math.max(Math.ceil(inMs), 1), LONGEST_DELAY_MS));
  }
}
