/** What tests of the agent port need: hosts to dial, jobs to send, and servers that misbehave on purpose. */
import { type AddressInfo, createServer as createTcpServer, type Server, type Socket } from 'node:net';
import { createServer as createTlsServer, TLSSocket, type TlsOptions } from 'node:tls';
import { ulid } from 'ulid';
import type { DialHost, StartOrder } from '../../src/job/agent-port.ts';
import type { SluiceError } from '../../src/job/errors.ts';
import { type Job, launchToken, NOT_STARTED } from '../../src/job/record.ts';

export function dialHost(
  agent: { address: string; token: string; fingerprint: string },
  more: Partial<DialHost> = {},
): DialHost {
  return {
    name: 'host-1',
    address: agent.address,
    token: agent.token,
    tls: { fingerprint: agent.fingerprint },
    pinned_fingerprint: null,
    launcher: true,
    ...more,
  };
}

/** A job as the store keeps it, in the middle of its first attempt. */
export function someJob(more: Partial<Job> = {}): Job {
  return {
    id: `job_${ulid()}`,
    target_server: 'host-1',
    host: 'host-1',
    command: 'true',
    mode: 'async',
    job_user: null,
    sealed_env: null,
    shell: null,
    workdir: null,
    timeout_seconds: null,
    start_deadline_seconds: 600,
    lost_after_seconds: 600,
    poll_interval: 15,
    not_before: null,
    priority: 5,
    labels: {},
    on_ambiguous_start: 'lose',
    leftovers: 'keep',
    retry: null,
    batch_id: null,
    batch_index: null,
    unique_key: null,
    callback_url: null,
    created_by: 'test',
    created_at: Date.now(),
    traceparent: null,
    ...NOT_STARTED,
    state: 'dispatching',
    version: 2,
    attempt: 1,
    started_by: 'full',
    ...more,
  };
}

export function startOrder(job: Job, more: Partial<StartOrder> = {}): StartOrder {
  return { job, token: launchToken(job), env: {}, secret_env: {}, wait_seconds: 0, ...more };
}

/** The error that `promise` rejects with; fails where it does not. */
export async function failureOf(promise: Promise<unknown>): Promise<SluiceError> {
  const value = await promise.then(
    (kept) => ({ kept }),
    (error: SluiceError) => error,
  );
  if (value instanceof Error) return value;
  throw new Error(`expected a failure, got ${JSON.stringify(value.kept)}`);
}

/**
 * A server on loopback that does with each connection what the test says; with `tls` after the handshake.
 * `seen` is everything that clients sent to it, in the clear.
 */
export async function startRawServer(
  onRequest: (socket: Socket, request: string) => void,
  tls?: Pick<TlsOptions, 'key' | 'cert'>,
) {
  const sockets = new Set<Socket>();
  const seen: string[] = [];
  let connections = 0;
  let resumed = 0;
  function onSocket(socket: Socket): void {
    connections++;
    if (socket instanceof TLSSocket && socket.isSessionReused()) resumed++;
    sockets.add(socket);
    socket.on('close', () => sockets.delete(socket)).on('error', () => {});
    socket.on('data', (bytes) => {
      seen.push(bytes.toString('latin1'));
      onRequest(socket, bytes.toString('latin1'));
    });
  }
  const server: Server = tls ? createTlsServer(tls, onSocket) : createTcpServer(onSocket);
  server.on('tlsClientError', () => {});
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const { port } = server.address() as AddressInfo;
  return {
    address: `127.0.0.1:${port}`,
    seen,
    get connections() {
      return connections;
    },
    /** Connections that began with a TLS session of an earlier one. */
    get resumed() {
      return resumed;
    },
    get open() {
      return sockets.size;
    },
    async close() {
      for (const socket of sockets) socket.destroy();
      await new Promise((resolve) => server.close(resolve));
    },
  };
}

/** A whole HTTP reply. */
export function httpReply(status: number, body: string, headers: Record<string, string> = {}): string {
  const lines = Object.entries({ 'content-length': String(Buffer.byteLength(body)), ...headers });
  return `HTTP/1.1 ${status} X\r\n${lines.map(([name, value]) => `${name}: ${value}\r\n`).join('')}\r\n${body}`;
}
