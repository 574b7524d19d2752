/**
 * A Base agent for tests: a real HTTPS server on loopback that really runs commands as one of the three
 * generations does (`docs/base-agents.md`), and has faults when told to.
 *
 *     const agent = await startBaseAgent({ generation: 'A' });
 *     agent.url, agent.address ('127.0.0.1:port'), agent.token, agent.fingerprint, agent.home
 *     agent.fault('/run', { kind: 'reset', when: 'after' });          // the next one; a third argument: how many
 *     agent.mend();                                                   // no more faults, token accepted
 *     agent.requests['/run'], agent.startsOf('echo once'), agent.mostSimultaneous
 *     await agent.replaceCertificate(); agent.refuseToken(); await agent.forgetJobs();
 *     await agent.stopListening(); await agent.startListening();      // the same port
 *     await agent.close();                                            // and everything that it started
 */
import { randomUUID } from 'node:crypto';
import { mkdtemp, rm } from 'node:fs/promises';
import type { IncomingMessage, ServerResponse } from 'node:http';
import { createServer } from 'node:https';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Duplex } from 'node:stream';
import { makeCertificate } from './base-agent.certificate.ts';
import { createFaultBox, drip, type Fault, type FaultPath } from './base-agent.faults.ts';
import { type Generation, RULES, SERVER_ERROR } from './base-agent.generations.ts';
import { createJobRunner } from './base-agent.jobs.ts';
import { createBaseProtocol } from './base-agent.protocol.ts';

export type { Fault, FaultPath, Generation };

export interface BaseAgentOptions {
  generation: Generation;
  token?: string;
  /** Requests counted per address; the generation's own by default (B and C: 120 `/run`s in 60 s), null for none. */
  rate?: { limit: number; periodMs: number; counts: 'run' | 'all' } | null;
  /** Words that `/run` refuses in B and C; none by default. */
  blacklist?: string[];
  /** Has `GET /logs`, `dedup_key` and `active_job_id`, as the newest of B and C have. */
  newest?: boolean;
  /** Added to the environment that the agent and so its commands have. */
  env?: Record<string, string>;
  /** What it had in an earlier life: its directory, its port (0 for a free one) and its certificate. */
  kept?: { root: string; port: number; certificate: Awaited<ReturnType<typeof makeCertificate>> };
}

export type BaseAgent = Awaited<ReturnType<typeof startBaseAgent>>;

export async function startBaseAgent(options: BaseAgentOptions) {
  const rules = RULES[options.generation];
  const token = options.token ?? `token-${randomUUID()}`;
  const root = options.kept?.root ?? (await mkdtemp(join(tmpdir(), `base-agent-${options.generation}-`)));
  const env = {
    PATH: process.env.PATH ?? '/usr/bin:/bin',
    LANG: 'C.UTF-8',
    HOME: root,
    BASE_AGENT_ROOT: root,
    ...options.env,
  };
  const jobs = createJobRunner({ root, env });
  const faults = createFaultBox();
  const counted = rules.counts === 'run' ? { limit: 120, periodMs: 60_000, counts: 'run' as const } : null;
  const protocol = createBaseProtocol(rules, jobs, {
    token,
    rate: options.rate === undefined ? counted : options.rate,
    blacklist: options.blacklist ?? [],
    newest: options.newest ?? false,
  });
  const requests: Record<string, number> = {};
  const answers: Record<number, number> = {};
  const sockets = new Set<Duplex>();
  let simultaneous = 0;
  let mostSimultaneous = 0;

  async function serve(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const url = new URL(request.url ?? '/', 'https://agent');
    const path = `/${url.pathname.split('/')[1]}`;
    requests[path] = (requests[path] ?? 0) + 1;
    mostSimultaneous = Math.max(mostSimultaneous, ++simultaneous);
    response.once('close', () => simultaneous--);
    const fault = faults.take(path);
    if (fault?.kind === 'reply') {
      const type = fault.type ?? 'application/json';
      response.writeHead(fault.status, { 'content-type': type, ...fault.headers }).end(fault.body ?? '{}');
      return;
    }
    if (fault && 'when' in fault && fault.when === 'before') return vanish(fault, response);
    if (fault?.kind === 'late') await fault.until;
    const reply = await protocol.answer(path, request, url).catch(() => SERVER_ERROR);
    if (fault && 'when' in fault) return vanish(fault, response);
    answers[reply.status] = (answers[reply.status] ?? 0) + 1;
    response.writeHead(reply.status, { 'content-type': reply.type });
    if (fault?.kind === 'oversized') response.end(`{"stdout":"${'x'.repeat(fault.bytes)}"}`);
    else if (fault?.kind === 'drip') await drip(response, reply.body, fault.everyMs);
    else response.end(reply.body);
  }

  const certificate = options.kept?.certificate ?? (await makeCertificate());
  let fingerprint = certificate.fingerprint;
  const server = createServer({ key: certificate.key, cert: certificate.cert }, (request, response) => {
    void serve(request, response);
  });
  server.on('connection', (socket) => {
    sockets.add(socket);
    socket.once('close', () => sockets.delete(socket));
  });
  const listen = (port: number) =>
    new Promise<void>((resolve, reject) => {
      server.once('error', reject).listen(port, '127.0.0.1', resolve);
    });
  await listen(options.kept?.port ?? 0);
  const { port } = server.address() as AddressInfo;

  const agent = {
    generation: options.generation,
    token,
    /** The `HOME` of its commands, and where everything of this agent lies. */
    home: root,
    port,
    address: `127.0.0.1:${port}`,
    url: `https://127.0.0.1:${port}`,
    /** sha256 of the certificate shown now, DER, lower-case hex. */
    get fingerprint() {
      return fingerprint;
    },
    /** Requests by their first path element, `/run` and so on, faulty ones included. */
    requests,
    /** Answers of its own by their HTTP status. */
    answers,
    get mostSimultaneous() {
      return mostSimultaneous;
    },
    /** The commands really started, launcher and all, in order. */
    commands: protocol.commands,
    /** How many of the commands really started contain `part`. */
    startsOf: (part: string) => protocol.commands.filter((command) => command.includes(part)).length,
    fault: (path: FaultPath, fault: Fault, times = 1) => faults.arm(path, fault, times),
    /** From now on the right token is refused too. */
    refuseToken: () => protocol.refuseToken(true),
    /** No more faults, and the token is accepted again. */
    mend: () => {
      faults.disarmAll();
      protocol.refuseToken(false);
    },
    forgetJobs: () => jobs.forget(),
    /** What a person attached to the job's tmux session would see. */
    pane: (id: string) => jobs.pane(id),
    /** Types into the job's pane, in the words of tmux: `['yes', 'Enter']`. */
    sendKeys: (id: string, keys: string[]) => jobs.sendKeys(id, keys),
    async replaceCertificate() {
      const next = await makeCertificate();
      server.setSecureContext({ key: next.key, cert: next.cert });
      fingerprint = next.fingerprint;
      for (const socket of sockets) socket.destroy();
    },
    /** Refuses connections and breaks those that are open; the jobs go on. */
    async stopListening() {
      const closed = new Promise((resolve) => server.close(resolve));
      for (const socket of sockets) socket.destroy();
      await closed;
    },
    startListening: () => listen(port),
    async close() {
      if (server.listening) await agent.stopListening();
      await jobs.close();
      await rm(root, { recursive: true, force: true, maxRetries: 5, retryDelay: 100 });
    },
  };
  return agent;
}

function vanish(fault: { kind: string }, response: ServerResponse): void {
  if (fault.kind === 'reset') response.socket?.destroy();
}
