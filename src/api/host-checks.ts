/**
 * What is found out about a host by asking it now, and what to do about each thing that is wrong. What cannot be
 * told, because something before it failed, is null and not a guess. The answer is recorded, as any contact is.
 */
import { randomUUID } from 'node:crypto';
import type { AgentPort, DialHost } from '../job/agent-port.ts';
import { pauseAskedMs } from '../job/circuit.ts';
import { type ErrorCode, SluiceError } from '../job/errors.ts';
import type { AgentFacts, HostConfig } from '../job/host.ts';
import { MISCONFIGURED } from '../job/remedies.ts';
import type { Followed } from '../store/followed.ts';
import type { HostStore } from '../store/hosts.ts';
import type { Wake } from '../store/queues.ts';
import type { Calling } from './calling.ts';

export const CHECKS = ['reachable', 'certificate', 'token', 'users', 'launcher', 'clock'] as const;

export interface Check {
  name: (typeof CHECKS)[number];
  /** Null: could not be told, or does not apply. */
  ok: boolean | null;
  cause: string | null;
  remedy: string | null;
}

export interface HostCheckDeps {
  hosts: Pick<HostStore, 'contacted' | 'failed' | 'pause' | 'pin' | 'warn'>;
  followed: Pick<Followed, 'askAllNow'>;
  agents: Pick<AgentPort, 'ping' | 'prepare'>;
  wake: Pick<Wake, 'dispatch' | 'follow'>;
  calling: Calling;
}

/** Commands started or ended by a clock that is wrong by more have misleading times. */
const TOLERATED_SKEW_MS = 30_000;
const TAKES_ANY_TOKEN = 'the agent takes any token: whoever reaches its port can run commands';

export function createHostChecks({ hosts, followed, agents, wake, calling }: HostCheckDeps) {
  return async (host: HostConfig): Promise<Check[]> => {
    const ask = async (dial: DialHost): Promise<Check[]> => {
      try {
        const { facts, fingerprint } = await agents.ping(dial);
        await recordContact(host, facts, fingerprint);
        return [
          passed('reachable'),
          passed('certificate'),
          await checkToken(host, dial, facts),
          checkUsers(host, facts),
          await checkLauncher(host, dial, facts),
          checkClock(facts),
        ];
      } catch (error) {
        // No room in the host's own limits says nothing about the host.
        if (!(error instanceof SluiceError) || error.code === 'host_busy') throw error;
        return error.code === 'agent_busy'
          ? await recordPause(host, error)
          : await recordFailure(host, error);
      }
    };
    return calling.call(host, ask, { evenIfDown: true });
  };

  async function recordContact(host: HostConfig, facts: AgentFacts, fingerprint: string | null) {
    if (fingerprint !== null && 'pin' in host.tls) {
      await hosts.pin(host.name, fingerprint, { replace: false });
    }
    if (!(await hosts.contacted(host.name, facts))) return;
    // What has waited for the host goes on; a lost wake-up is the sweep's. Before the wakes: the questions about its
    // running jobs were put off to the end of its pause, and a poll that finds none due would leave again.
    await followed.askAllNow(host.name).catch(() => undefined);
    await Promise.allSettled([wake.dispatch(host.name), wake.follow(host.name)]);
  }

  /** It is there, and asks to wait: no failure, and nothing is known of the rest. */
  async function recordPause(host: HostConfig, error: SluiceError): Promise<Check[]> {
    await hosts.pause(host.name, pauseAskedMs(error));
    const rest = CHECKS.slice(3).map(untold);
    return [passed('reachable'), passed('certificate'), busy('token', error), ...rest];
  }

  async function recordFailure(host: HostConfig, error: SluiceError): Promise<Check[]> {
    const at = FAILED_AT[error.code] ?? 'reachable';
    const remedy = REMEDIES[error.code] ?? 'See the log of the agent.';
    const status = error.code in MISCONFIGURED ? 'misconfigured' : 'unreachable';
    await hosts.failed(host.name, { status, cause: error.message, remedy });
    const before = CHECKS.slice(0, CHECKS.indexOf(at)).map(passed);
    const after = CHECKS.slice(before.length + 1).map(untold);
    return [...before, { name: at, ok: false, cause: error.message, remedy }, ...after];
  }

  /** Some Base agents notice no wrong token. Full agents do, and are not asked. */
  async function checkToken(host: HostConfig, dial: DialHost, facts: AgentFacts): Promise<Check> {
    if (facts.kind === 'full') return passed('token');
    try {
      await agents.ping({ ...dial, token: `wrong-on-purpose-${randomUUID()}` });
    } catch (error) {
      if (!(error instanceof SluiceError)) throw error;
      return isBusy(error) ? busy('token', error) : passed('token');
    }
    await hosts.warn(host.name, TAKES_ANY_TOKEN);
    const remedy = 'Let nobody but the gateway reach its port, and replace the agent.';
    return { name: 'token', ok: false, cause: TAKES_ANY_TOKEN, remedy };
  }

  async function checkLauncher(host: HostConfig, dial: DialHost, facts: AgentFacts): Promise<Check> {
    if (facts.kind === 'full' || !host.launcher) return untold('launcher');
    const user = host.allowed_users?.includes(null) === false ? (host.allowed_users[0] ?? null) : null;
    try {
      await agents.prepare(dial, facts, user);
      return passed('launcher');
    } catch (error) {
      if (!(error instanceof SluiceError)) throw error;
      if (isBusy(error)) return busy('launcher', error);
      const remedy =
        "The launcher needs a directory of the user's own on the host that it can write to; else set launcher to false.";
      return { name: 'launcher', ok: false, cause: error.message, remedy };
    }
  }
}

function checkUsers(host: HostConfig, facts: AgentFacts): Check {
  const missing = host.allowed_users?.filter(
    (user) => user !== null && facts.users?.includes(user) === false,
  );
  if (!missing || missing.length === 0) return passed('users');
  return {
    name: 'users',
    ok: false,
    cause: `The agent may not run commands as ${missing.join(', ')}.`,
    remedy: "Add them to the policy file on the host, or take them out of the host's allowed_users.",
  };
}

function checkClock({ clock_skew_ms }: AgentFacts): Check {
  if (Math.abs(clock_skew_ms) <= TOLERATED_SKEW_MS) return passed('clock');
  const seconds = Math.round(clock_skew_ms / 1_000);
  return {
    name: 'clock',
    ok: false,
    cause: `The host's clock is ${Math.abs(seconds)} s ${seconds > 0 ? 'ahead' : 'behind'}.`,
    remedy: 'Synchronize the clocks of the host and of the gateway (NTP).',
  };
}

/** Where a failed ping shows what is wrong, if that is not its reachability: everything before it was passed. */
const FAILED_AT: Partial<Record<ErrorCode, Check['name']>> = {
  agent_certificate_changed: 'certificate',
  agent_token_refused: 'token',
  agent_address_refused: 'token',
};

const REMEDIES: Partial<Record<ErrorCode, string>> = {
  ...MISCONFIGURED,
  agent_unreachable: 'Is the agent running, and does a firewall let the gateway in?',
  agent_reply_lost: 'Something listens there but does not answer: see the log of the agent.',
  agent_reply_invalid: 'Something else than an agent answers there: check the address.',
};

function isBusy(error: SluiceError): boolean {
  return error.code === 'host_busy' || error.code === 'agent_busy';
}

function busy(name: Check['name'], error: SluiceError): Check {
  const seconds = Number(error.fields.retry_after ?? 1);
  return { name, ok: null, cause: error.message, remedy: `It is busy: check again in ${seconds} s.` };
}

function passed(name: Check['name']): Check {
  return { name, ok: true, cause: null, remedy: null };
}

function untold(name: Check['name']): Check {
  return { name, ok: null, cause: null, remedy: null };
}
