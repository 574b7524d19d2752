/**
 * The process of `simulated-agents.ts`: one HTTP(S) server behind as many listening sockets as it has hosts, each of
 * which is a host of its own. Answers its parent's messages, and ends with it.
 */
import type { IncomingMessage, ServerResponse } from 'node:http';
import { createServer } from 'node:http';
import { createServer as createSecureServer } from 'node:https';
import { type AddressInfo, createServer as createListener } from 'node:net';
import type { CancelRequest, RunRequest, StatusRequest } from '../../src/protocol/agent.ts';
import type { Kind } from './simulated-agents.counters.ts';
import {
  type Answer,
  createSimulatedHost,
  Refused,
  refusal,
  type SimulatedHost,
} from './simulated-agents.host.ts';
import type { Command, Reply, Settings } from './simulated-agents.ts';

/** Of any request: only the gateway asks here, and it sends what the protocol says. */
type Body = RunRequest & StatusRequest & CancelRequest;

interface Served {
  host: SimulatedHost;
  silent: boolean;
  /** Falls silent with the first start that it has answered. */
  doomed: boolean;
}

const settings = JSON.parse(process.argv[2] ?? '') as Settings;
const byPort = new Map<number, Served>();
const server = settings.tls
  ? createSecureServer({ ...settings.tls, keepAliveTimeout: 65_000 }, serve)
  : createServer({ keepAliveTimeout: 65_000 }, serve);

const served: Served[] = [];
const ports: number[] = [];
for (let i = 0; i < settings.hosts; i++) {
  const listener = createListener({ noDelay: true }, (socket) => {
    byPort.get(socket.localPort ?? 0)?.host.counters.connected();
    server.emit('connection', socket);
  });
  await new Promise<void>((resolve) => listener.listen(0, settings.address, resolve));
  const { port } = listener.address() as AddressInfo;
  const one = {
    host: createSimulatedHost({ name: `${settings.address}:${port}`, periodMs: settings.periodMs }),
    ...{ silent: false, doomed: false },
  };
  byPort.set(port, one);
  served.push(one);
  ports.push(port);
}

process.on('message', (message: Command) => {
  process.send?.({ id: message.id, result: obey(message) } satisfies Reply);
});
process.once('disconnect', () => process.exit(0));
process.send?.({ id: 0, result: ports } satisfies Reply);

function obey({ what, hosts = [] }: Command): unknown {
  if (what === 'counters') return served.map(({ host }) => host.counters.seen());
  if (what === 'starts') return served.map(({ host }) => host.counters.starts());
  if (what === 'spoil') for (const i of hosts) served[i]!.host.spoil();
  if (what === 'doom') for (const i of hosts) served[i]!.doomed = true;
  if (what === 'reset') for (const { host } of served) host.counters.reset();
  if (what === 'silence' || what === 'revive') {
    for (const i of hosts) Object.assign(served[i]!, { silent: what === 'silence', doomed: false });
  }
  return null;
}

function serve(request: IncomingMessage, response: ServerResponse): void {
  const chunks: Buffer[] = [];
  request.on('data', (chunk: Buffer) => chunks.push(chunk));
  request.on('end', () => void answer(request, response, Buffer.concat(chunks).toString()));
}

async function answer(request: IncomingMessage, response: ServerResponse, text: string): Promise<void> {
  const one = byPort.get(request.socket.localPort ?? 0)!;
  const { host, silent } = one;
  const path = new URL(request.url ?? '/', 'http://agent').pathname;
  const [, verb = '', id] = path.split('/');
  const body = JSON.parse(text || '{}') as Body;
  const held = verb === 'status' && (body.wait_seconds ?? 0) > 0 && body.cursor !== undefined;
  const over = host.counters.begin(verb as Kind, held);
  response.once('close', over);
  if (silent) {
    // It took the request and says nothing; in the end the connection breaks.
    if (settings.silentMs > 0) setTimeout(() => request.socket.destroy(), settings.silentMs);
    return;
  }
  const gone = new AbortController();
  response.once('close', () => gone.abort());
  const pausing = pause();
  const { status, body: said } = await ask(host, request, verb, id, body, gone.signal);
  await pausing;
  if (response.destroyed) return;
  if (one.doomed && verb === 'run') one.silent = true;
  // Before the reply goes out: with it the client may send the next one.
  over();
  const reply = JSON.stringify(said);
  response.writeHead(status, {
    'content-type': 'application/json',
    'content-length': Buffer.byteLength(reply),
  });
  response.end(reply);
}

async function ask(
  host: SimulatedHost,
  request: IncomingMessage,
  verb: string,
  id: string | undefined,
  body: Body,
  gone: AbortSignal,
): Promise<Answer> {
  if (request.headers['x-agent-token'] !== settings.token) return refusal(403, 'invalid_token');
  try {
    if (verb === 'ping') return { status: 200, body: host.ping() };
    if (verb === 'run') return await host.run(body, gone);
    if (verb === 'status' && id === undefined) return await host.statusOfMany(body, gone);
    if (verb === 'status' && id !== undefined) return host.statusOfOne(id);
    if (verb === 'logs' && id !== undefined) return host.logs(id);
    if (verb === 'cancel' && id !== undefined) return host.cancel(id, body);
    return refusal(404, 'not_found');
  } catch (error) {
    if (error instanceof Refused) return error.answer;
    throw error;
  }
}

/** Within the set delays, at random. */
function pause(): Promise<void> {
  const [least, most] = settings.delayMs;
  if (most === 0) return Promise.resolve();
  return new Promise((resolve) => setTimeout(resolve, least + Math.random() * (most - least)));
}
