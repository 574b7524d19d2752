/**
 * The door of a host: an HTTPS server before an agent, through which a test decides what becomes of one start. The
 * agent behind it is a real one and acts, or not, when the door says so; everything else passes untouched.
 *
 *     const door = await openDoor(agent, 'part of the command');
 *     door.onStart(async (start) => { await start.forward(); start.drop(); });   // the next start of that command only
 *     await door.shut(); await door.open(); await door.showAnotherCertificate();
 */
import { createServer, request as httpsRequest } from 'node:https';
import type { AddressInfo } from 'node:net';
import type { Duplex } from 'node:stream';
import { buffer } from 'node:stream/consumers';
import { makeCertificate } from './base-agent.certificate.ts';

/** One `POST /run` with the command of the test, held at the door. */
export interface HeldStart {
  /** Lets the agent have it. @returns what the agent says; rejects if that never comes */
  forward(): Promise<{ status: number; body: string }>;
  /** Answers the gateway. */
  reply(status: number, body: object, headers?: Record<string, string>): void;
  /** Breaks the gateway's connection without a reply. */
  drop(): void;
}

export type OnStart = (start: HeldStart) => Promise<void> | void;
export type Door = Awaited<ReturnType<typeof openDoor>>;

/** @param marker what the command of the test contains, and nothing else that is sent through this door */
export async function openDoor(lives: { address: string; token: string }, marker: string) {
  let agent = lives;
  const first = await makeCertificate();
  const sockets = new Set<Duplex>();
  let onStart: OnStart | null = null;
  const failures: unknown[] = [];

  const server = createServer({ key: first.key, cert: first.cert }, async (request, response) => {
    const { method = 'GET', url: path = '/' } = request;
    const body = await buffer(request);
    // Of the gateway's going away; for who forwards it a long time later.
    response.on('error', () => undefined);
    const pass = (abort?: AbortSignal) => ask(agent, method, path, body, abort);
    if (onStart && path === '/run' && body.includes(marker)) {
      const act = onStart;
      onStart = null;
      const start: HeldStart = {
        forward: async () => {
          const { status, body: said } = await pass();
          return { status, body: said.toString() };
        },
        reply: (status, said, headers = {}) =>
          void response
            .writeHead(status, { 'content-type': 'application/json', ...headers })
            .end(JSON.stringify(said)),
        drop: () => void response.socket?.destroy(),
      };
      await Promise.resolve(act(start)).catch((error: unknown) => failures.push(error));
      return;
    }
    const left = new AbortController();
    response.once('close', () => left.abort());
    const reply = await pass(left.signal).catch(() => null);
    if (!reply) response.socket?.destroy();
    else response.writeHead(reply.status, reply.headers).end(reply.body);
  });
  server.on('connection', (socket) => {
    sockets.add(socket);
    socket.once('close', () => sockets.delete(socket));
  });
  const listen = (port: number) =>
    new Promise<void>((resolve, reject) => {
      server.once('error', reject).listen(port, '127.0.0.1', resolve);
    });
  await listen(0);
  const { port } = server.address() as AddressInfo;
  const breakAll = () => {
    for (const socket of sockets) socket.destroy();
  };

  const door = {
    address: `127.0.0.1:${port}`,
    token: lives.token,
    fingerprint: first.fingerprint,
    /** Another agent lives behind it from now on; its token is the door's affair. */
    moveIn(other: { address: string; token: string }): void {
      agent = other;
      breakAll();
    },
    /** What is to become of the next start of the test's command; later ones pass. */
    onStart(act: OnStart): void {
      onStart = act;
    },
    /** Errors of what was done at the door. */
    failures,
    /** Refuses connections, and breaks those that are open. */
    async shut(): Promise<void> {
      const closed = new Promise((resolve) => server.close(resolve));
      breakAll();
      await closed;
    },
    open: () => listen(port),
    async showAnotherCertificate(): Promise<void> {
      const { key, cert } = await makeCertificate();
      server.setSecureContext({ key, cert });
      breakAll();
    },
    showFirstCertificate(): void {
      server.setSecureContext({ key: first.key, cert: first.cert });
      breakAll();
    },
    async close(): Promise<void> {
      if (server.listening) await door.shut();
    },
  };
  return door;
}

/** One request to the agent, on a connection of its own. */
export function ask(
  agent: { address: string; token: string },
  method: string,
  path: string,
  body: Buffer,
  signal?: AbortSignal,
): Promise<{ status: number; headers: Record<string, string>; body: Buffer }> {
  const [host, port] = agent.address.split(':');
  const headers = { 'x-agent-token': agent.token, 'content-type': 'application/json' };
  return new Promise((resolve, reject) => {
    const sent = httpsRequest(
      {
        ...{ host, port, method, path, rejectUnauthorized: false, agent: false, ...(signal && { signal }) },
        headers: { ...headers, 'content-length': String(body.length) },
      },
      (reply) => {
        const { 'content-type': type = 'application/json', 'retry-after': wait } = reply.headers;
        const kept = { 'content-type': type, ...(wait !== undefined && { 'retry-after': wait }) };
        buffer(reply).then(
          (all) => resolve({ status: reply.statusCode ?? 0, headers: kept, body: all }),
          reject,
        );
      },
    );
    sent.on('error', reject).end(body);
  });
}
