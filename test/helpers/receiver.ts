/**
 * A receiver of webhooks that can be told to behave badly: a real HTTP or HTTPS server on loopback.
 *
 * It checks signatures with `standardwebhooks`, as a customer would, and counts what it sees; whether that is
 * right is for the test to say.
 */
import { once } from 'node:events';
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import { createServer as createSecureServer } from 'node:https';
import type { AddressInfo } from 'node:net';
import { generate } from 'selfsigned';
import { Webhook } from 'standardwebhooks';

export type ReceiverMode =
  | { kind: 'status'; status: number; headers?: Record<string, string>; body?: string }
  /** Takes the request and never answers. */
  | { kind: 'hang' }
  /** Takes the request, then resets the connection. */
  | { kind: 'reset' }
  /** Answers 200, then sends a byte now and then. */
  | { kind: 'slow_body' };

export interface ReceivedWebhook {
  id: string;
  timestamp: number;
  signature: string;
  path: string;
  /** The body as it came. */
  text: string;
  body: { type: string; timestamp: string; data: Record<string, unknown> };
  /** Which of the receiver's secrets verify it, by their place in `secrets`. */
  verifiedBy: number[];
  /** How it was answered. */
  mode: ReceiverMode;
}

export interface Receiver {
  url: string;
  /** `127.0.0.1:<port>` */
  address: string;
  /** PEM of the certificate, for HTTPS. */
  ca: string | undefined;
  /** What its signatures are checked with; may be changed at any time. */
  secrets: string[];
  mode: ReceiverMode;
  received: ReceivedWebhook[];
  /** Requests under way now, and the most there have been at once. */
  inFlight: number;
  maxInFlight: number;
  stop(): Promise<void>;
}

export const OK: ReceiverMode = { kind: 'status', status: 200 };

export async function startReceiver(
  options: {
    https?: boolean;
    mode?: ReceiverMode;
    secrets?: string[];
    delayMs?: number;
    /** Called with each webhook before it is answered. */
    onReceived?: (webhook: ReceivedWebhook) => void;
  } = {},
): Promise<Receiver> {
  const pem = options.https ? await certificate() : undefined;
  const handler = (request: IncomingMessage, response: ServerResponse) => void handle(request, response);
  const server = pem ? createSecureServer(pem, handler) : createServer(handler);
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;

  const receiver: Receiver = {
    url: `${pem ? 'https' : 'http'}://127.0.0.1:${port}/hook`,
    address: `127.0.0.1:${port}`,
    ca: pem?.cert,
    secrets: options.secrets ?? [],
    mode: options.mode ?? OK,
    received: [],
    inFlight: 0,
    maxInFlight: 0,
    async stop() {
      server.close();
      server.closeAllConnections();
      await once(server, 'close');
    },
  };
  return receiver;

  async function handle(request: IncomingMessage, response: ServerResponse): Promise<void> {
    receiver.inFlight++;
    receiver.maxInFlight = Math.max(receiver.maxInFlight, receiver.inFlight);
    response.once('close', () => receiver.inFlight--);
    const chunks: Buffer[] = [];
    try {
      for await (const chunk of request) chunks.push(chunk as Buffer);
    } catch {
      return;
    }
    const webhook = read(request, Buffer.concat(chunks).toString('utf8'));
    receiver.received.push(webhook);
    options.onReceived?.(webhook);
    if (options.delayMs) await new Promise((resolve) => setTimeout(resolve, options.delayMs));
    webhook.mode = receiver.mode;
    answer(webhook.mode, request, response);
  }

  function read(request: IncomingMessage, text: string): ReceivedWebhook {
    const header = (name: string) => String(request.headers[name] ?? '');
    const headers = {
      'webhook-id': header('webhook-id'),
      'webhook-timestamp': header('webhook-timestamp'),
      'webhook-signature': header('webhook-signature'),
    };
    const verifiedBy = receiver.secrets.flatMap((secret, i) => (verifies(secret, text, headers) ? [i] : []));
    return {
      id: headers['webhook-id'],
      timestamp: Number(headers['webhook-timestamp']),
      signature: headers['webhook-signature'],
      path: request.url ?? '',
      text,
      body: JSON.parse(text) as ReceivedWebhook['body'],
      verifiedBy,
      mode: receiver.mode,
    };
  }
}

function answer(mode: ReceiverMode, request: IncomingMessage, response: ServerResponse): void {
  switch (mode.kind) {
    case 'status':
      response.writeHead(mode.status, mode.headers).end(mode.body ?? '');
      return;
    case 'hang':
      return;
    case 'reset':
      request.socket.resetAndDestroy();
      return;
    case 'slow_body': {
      response.writeHead(200).write('.');
      const drip = setInterval(() => response.write('.'), 50);
      response.once('close', () => clearInterval(drip));
      return;
    }
  }
}

function verifies(secret: string, text: string, headers: Record<string, string>): boolean {
  try {
    new Webhook(secret).verify(text, headers);
    return true;
  } catch {
    return false;
  }
}

async function certificate(): Promise<{ key: string; cert: string }> {
  const { private: key, cert } = await generate([{ name: 'commonName', value: 'receiver' }], {
    keyType: 'ec',
    extensions: [
      { name: 'basicConstraints', cA: true },
      {
        name: 'subjectAltName',
        altNames: [
          { type: 7, ip: '127.0.0.1' },
          { type: 2, value: 'receiver.test' },
        ],
      },
    ],
  });
  return { key, cert };
}
