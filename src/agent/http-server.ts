/**
 * HTTPS for one kind of client: the token is checked on the headers, for every path, before any of the body is read;
 * bodies are JSON of bounded size; replies are JSON. What a path does is `routes.ts`'s business.
 */
import type { IncomingMessage, ServerResponse } from 'node:http';
import { createServer, type Server } from 'node:https';
import type { Socket } from 'node:net';
import type { Logger } from './log.ts';
import { Refusal } from './refusal.ts';

const MAX_BODY_BYTES = 1024 * 1024;
const MAX_CONNECTIONS = 2048;
/** One address cannot take the places of all others, with or without a token. */
const MAX_CONNECTIONS_OF_ADDRESS = 1024;
const HANDSHAKE_TIMEOUT_MS = 10_000;
const HEADERS_TIMEOUT_MS = 10_000;
/** How often the two timeouts for requests are looked at. */
const CHECK_TIMEOUTS_MS = 5000;
const REFUSED_LOG_MS = 10_000;
const REQUEST_TIMEOUT_MS = 30_000;
/** Longer than clients keep an idle connection, so that it is they who close it. */
const KEEP_ALIVE_MS = 65_000;

export interface Call {
  method: string;
  path: string;
  query: URLSearchParams;
  /** The parsed body; undefined where there was none. */
  body: unknown;
  /** Aborts when the client is gone. */
  gone: AbortSignal;
}

export interface HttpServerDeps {
  tls: { key: string; cert: string };
  isToken: (presented: string | undefined) => boolean;
  handle: (call: Call) => Promise<object>;
  log: Logger;
}

export function createHttpServer(deps: HttpServerDeps): Server {
  const server = createServer(
    {
      ...deps.tls,
      minVersion: 'TLSv1.2',
      handshakeTimeout: HANDSHAKE_TIMEOUT_MS,
      connectionsCheckingInterval: CHECK_TIMEOUTS_MS,
      headersTimeout: HEADERS_TIMEOUT_MS,
      requestTimeout: REQUEST_TIMEOUT_MS,
      keepAliveTimeout: KEEP_ALIVE_MS,
    },
    (request, response) => void serve(request, response),
  );
  server.maxConnections = MAX_CONNECTIONS;
  limitPerAddress(server);
  const refused = { count: 0, loggedAt: 0 };
  return server;

  /** One line says it for all of ten seconds: nobody can fill the host's log. */
  function noteRefused(peer: string | undefined): void {
    refused.count++;
    if (Date.now() - refused.loggedAt < REFUSED_LOG_MS) return;
    deps.log.warn({ peer, count: refused.count }, 'agent.token.refused');
    Object.assign(refused, { count: 0, loggedAt: Date.now() });
  }

  async function serve(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const gone = new AbortController();
    response.on('close', () => gone.abort());
    try {
      reply(response, 200, await answer(request, gone.signal));
    } catch (error) {
      const refusal = error instanceof Refusal ? error : unexpected(error, request);
      // The rest of a body that was not read would be taken for the next request.
      if (!request.complete) response.setHeader('connection', 'close');
      reply(response, refusal.status, { error: refusal.code, message: refusal.message });
    }
  }

  async function answer(request: IncomingMessage, gone: AbortSignal): Promise<object> {
    const token = request.headers['x-agent-token'];
    if (!deps.isToken(typeof token === 'string' ? token : undefined)) {
      noteRefused(request.socket.remoteAddress);
      throw new Refusal(403, 'invalid_token', 'the header X-Agent-Token is missing or wrong');
    }
    const url = parseUrl(request.url ?? '/');
    return deps.handle({
      method: request.method ?? 'GET',
      path: url.pathname,
      query: url.searchParams,
      body: parseBody(await readBody(request)),
      gone,
    });
  }

  function unexpected(error: unknown, request: IncomingMessage): Refusal {
    deps.log.error({ method: request.method, err: error }, 'agent.request.failed');
    return new Refusal(500, 'internal', 'the agent failed; its log says why');
  }
}

function limitPerAddress(server: Server): void {
  const open = new Map<string, number>();
  server.on('connection', (socket: Socket) => {
    const address = socket.remoteAddress ?? '';
    const count = (open.get(address) ?? 0) + 1;
    if (count > MAX_CONNECTIONS_OF_ADDRESS) return void socket.destroy();
    open.set(address, count);
    socket.once('close', () => {
      const left = open.get(address)! - 1;
      if (left === 0) open.delete(address);
      else open.set(address, left);
    });
  });
}

function reply(response: ServerResponse, status: number, body: object): void {
  if (response.destroyed) return;
  const text = JSON.stringify(body);
  response.writeHead(status, {
    'content-type': 'application/json',
    'content-length': Buffer.byteLength(text),
  });
  response.end(text);
}

async function readBody(request: IncomingMessage): Promise<Buffer> {
  const chunks: Buffer[] = [];
  let size = 0;
  for await (const chunk of request as AsyncIterable<Buffer>) {
    size += chunk.length;
    if (size > MAX_BODY_BYTES)
      throw new Refusal(413, 'too_large', `a body has at most ${MAX_BODY_BYTES} bytes`);
    chunks.push(chunk);
  }
  return Buffer.concat(chunks);
}

function parseBody(bytes: Buffer): unknown {
  if (bytes.length === 0) return undefined;
  try {
    return JSON.parse(new TextDecoder('utf-8', { fatal: true }).decode(bytes));
  } catch {
    throw new Refusal(400, 'invalid_json', 'the body is not JSON in UTF-8');
  }
}

function parseUrl(url: string): URL {
  try {
    return new URL(url, 'https://agent');
  } catch {
    throw new Refusal(404, 'not_found', 'there is no such path');
  }
}
