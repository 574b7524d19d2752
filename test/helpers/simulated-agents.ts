/**
 * A fleet of simulated Full agents, in processes of their own, hundreds of hosts each, which count what they see.
 *
 *     const fleet = await startSimulatedAgents({ hosts: 100, delayMs: [30, 70] });
 *     fleet.hosts[3]                                 // { name: 'sim-00003', address: '127.0.0.2:40123', token, tls }
 *     await call('PUT', `/v1/hosts/${name}`, { ...fleet.registration(3), max_requests: 4 });
 *     await fleet.silence([7, 8]);                   // they take requests and answer none, until `revive([7, 8])`
 *     (await fleet.counters())[3].mostAtOnce         // counted at the host; see `simulated-agents.counters.ts`
 *     await fleet.startedTwice()                     // jobs executed more than once: must be empty
 *     await fleet.stop();
 *
 * Commands are times: `sleep 2` lasts 2 s, `sleep 3-7` 3 to 7 s, `exit 3` ends at once with 3, everything else at once with 0.
 */
import { type ChildProcess, fork } from 'node:child_process';
import { once } from 'node:events';
import { fileURLToPath } from 'node:url';
import { makeCertificate } from './base-agent.certificate.ts';
import type { HostCounters, Start } from './simulated-agents.counters.ts';

export type { HostCounters, Start };

export interface FleetOptions {
  hosts: number;
  /** Default 2. */
  processes?: number;
  /** Default true: HTTPS, with one certificate for all. */
  tls?: boolean;
  /** Each reply comes after a time between these; default [0, 0]. */
  delayMs?: [least: number, most: number];
  /** The sliding window of `mostInPeriod`; default 1,000. */
  periodMs?: number;
  /** After which a silent host breaks a connection; default 5,000, 0 for never. */
  silentMs?: number;
}

export type SimulatedFleet = Awaited<ReturnType<typeof startSimulatedAgents>>;

/** What a process is told at its start. */
export interface Settings {
  address: string;
  hosts: number;
  token: string;
  tls: { key: string; cert: string } | null;
  delayMs: [number, number];
  periodMs: number;
  silentMs: number;
}

/** What becomes of hosts that a test has chosen. */
type Fate = 'silence' | 'revive' | 'doom' | 'spoil';

export interface Command {
  id: number;
  what: 'counters' | 'starts' | 'reset' | Fate;
  /** By their place in the process. */
  hosts?: number[];
}

/** The first one (id 0) says that the process is up, and its hosts' ports. */
export interface Reply {
  id: number;
  result: unknown;
}

const PROCESS = fileURLToPath(new URL('./simulated-agents.process.ts', import.meta.url));

export async function startSimulatedAgents(options: FleetOptions) {
  const {
    hosts: count,
    processes = 2,
    tls = true,
    delayMs = [0, 0],
    periodMs = 1_000,
    silentMs = 5_000,
  } = options;
  const token = 'simulated-agents-token';
  const certificate = tls ? await makeCertificate() : null;
  const trust = certificate ? { fingerprint: certificate.fingerprint } : { dangerously_off: true as const };
  const share = Math.ceil(count / processes);
  const agents = await Promise.all(
    Array.from({ length: processes }, (_, i) =>
      startProcess({
        // An address each: 28,000 ports are free at every one of them.
        address: `127.0.0.${2 + i}`,
        hosts: Math.max(0, Math.min(share, count - i * share)),
        token,
        tls: certificate && { key: certificate.key, cert: certificate.cert },
        ...{ delayMs, periodMs, silentMs },
      }),
    ),
  );
  const hosts = agents
    .flatMap(({ addresses }) => addresses)
    .map((address, i) => ({ name: `sim-${String(i).padStart(5, '0')}`, address, token, tls: trust }));

  async function starts(): Promise<Start[][]> {
    return (await Promise.all(agents.map(({ command }) => command('starts')))).flat() as Start[][];
  }

  async function tell(what: Fate, indexes: number[]): Promise<void> {
    const theirs = (i: number) =>
      indexes.filter((index) => Math.floor(index / share) === i).map((index) => index % share);
    await Promise.all(agents.map((agent, i) => agent.command(what, theirs(i))));
  }

  return {
    /** Each with what `PUT /v1/hosts/{name}` wants of it. */
    hosts,
    /** The body of a `PUT /v1/hosts/{name}`. */
    registration(i: number) {
      const { name: _, ...body } = hosts[i]!;
      return body;
    },
    /** Whether they speak TLS. */
    tls,
    pids: agents.map(({ pid }) => pid),
    /** In the order of `hosts`. */
    async counters(): Promise<HostCounters[]> {
      return (await Promise.all(agents.map(({ command }) => command('counters')))).flat() as HostCounters[];
    },
    /** Every execution, in the order of `hosts`, each host's in the order of time. */
    starts,
    /** Ids of jobs that were executed more than once, under one token at two hosts or under two tokens. */
    async startedTwice(): Promise<string[]> {
      const tokens = (await starts()).flat().map((start) => start.token);
      const seen = Map.groupBy(tokens, (token) => token.replace(/-\d+$/, ''));
      return [...seen].filter(([, executions]) => executions.length > 1).map(([job]) => job);
    },
    /** Has these hosts take requests and answer none of them. */
    silence: (indexes: number[]) => tell('silence', indexes),
    revive: (indexes: number[]) => tell('revive', indexes),
    /** Has these hosts fall silent as soon as they have answered a start: they die while their job runs. */
    doom: (indexes: number[]) => tell('doom', indexes),
    /** On these hosts every command fails from now on, after its time. */
    spoil: (indexes: number[]) => tell('spoil', indexes),
    /** Counts from zero; the jobs stay known. */
    async reset(): Promise<void> {
      await Promise.all(agents.map(({ command }) => command('reset')));
    },
    async stop(): Promise<void> {
      await Promise.all(agents.map(({ stop }) => stop()));
    },
  };
}

async function startProcess(settings: Settings) {
  const child: ChildProcess = fork(PROCESS, [JSON.stringify(settings)], { serialization: 'advanced' });
  const waiting = new Map<number, (result: unknown) => void>();
  let last = 0;
  child.on('message', ({ id, result }: Reply) => {
    waiting.get(id)?.(result);
    waiting.delete(id);
  });
  const ports = await new Promise<number[]>((resolve, reject) => {
    waiting.set(0, (result) => resolve(result as number[]));
    child.once('exit', (code) => reject(new Error(`the simulated agents ended with ${code}`)));
  });
  return {
    pid: child.pid as number,
    addresses: ports.map((port) => `${settings.address}:${port}`),
    command(what: Command['what'], hosts?: number[]): Promise<unknown> {
      const id = ++last;
      return new Promise((resolve) => {
        waiting.set(id, resolve);
        child.send({ id, what, ...(hosts && { hosts }) } satisfies Command);
      });
    },
    async stop(): Promise<void> {
      if (child.exitCode !== null || child.signalCode !== null) return;
      const ended = once(child, 'exit');
      child.kill('SIGKILL');
      await ended;
    },
  };
}
