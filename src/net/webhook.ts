/**
 * Sending one webhook: a POST that is over within `totalMs`, follows no redirect, reads at most a KiB of the
 * reply, and never rejects: whatever comes of it is a `Reply` for the delivery's log.
 */
import { Agent, type Dispatcher, errors, request } from 'undici';
import { hasCode, SluiceError } from '../job/errors.ts';
import { createUrlCheck } from './addresses.ts';
import { retryAfterMs } from './retry-after.ts';
import { type ConnectorDeps, createWebhookConnector } from './webhook-connector.ts';

export interface WebhookRequest {
  url: string;
  headers: Record<string, string>;
  body: string;
}

export interface Reply {
  /** Null where no reply came. */
  status: number | null;
  /** How long the receiver asks to wait, in ms. */
  retryAfterMs: number | null;
  /** A word for why there is no reply. */
  error: string | null;
  /** One sentence for people. */
  detail: string | null;
  /** The first KiB of the reply's body. */
  text: string | null;
}

export interface WebhookSender {
  send(message: WebhookRequest): Promise<Reply>;
  close(): Promise<void>;
}

export interface SenderDeps extends ConnectorDeps {
  /** From the resolution of the name to the last byte that is read. */
  totalMs: number;
}

const MAX_REPLY_BYTES = 1_024;

export function createWebhookSender(deps: SenderDeps): WebhookSender {
  const agent = new Agent({
    // The signal below has no effect until there is a connection.
    connect: createWebhookConnector({ ...deps, connectMs: Math.min(deps.connectMs, deps.totalMs) }),
    pipelining: 1,
    allowH2: false,
    headersTimeout: deps.totalMs,
    bodyTimeout: deps.totalMs,
  });
  // Asked before every message, not only when a connection is made: connections are kept for a while.
  const refusalOf = createUrlCheck(deps);

  return {
    async send({ url, headers, body }) {
      try {
        const refusal = await refusalOf(url);
        if (refusal !== null) throw new SluiceError('callback_url_forbidden', refusal);
        const reply = await request(url, {
          method: 'POST',
          headers: { ...headers, 'content-type': 'application/json', 'user-agent': 'sluice-webhook/1' },
          body,
          dispatcher: agent,
          signal: AbortSignal.timeout(deps.totalMs),
        });
        return {
          status: reply.statusCode,
          retryAfterMs: retryAfterMs(reply.headers['retry-after'], Date.now()),
          error: null,
          detail: null,
          text: await readStart(reply.body),
        };
      } catch (error) {
        return { status: null, retryAfterMs: null, text: null, ...describe(error) };
      }
    },
    close: () => agent.destroy(),
  };
}

/** The status has decided already: a body that breaks off or takes too long changes nothing. */
async function readStart(body: Dispatcher.ResponseData['body']): Promise<string> {
  const chunks: Buffer[] = [];
  let length = 0;
  try {
    for await (const chunk of body as AsyncIterable<Buffer>) {
      chunks.push(chunk);
      length += chunk.length;
      if (length >= MAX_REPLY_BYTES) break;
    }
  } catch {
    // What was read is kept.
  }
  return Buffer.concat(chunks).subarray(0, MAX_REPLY_BYTES).toString('utf8');
}

function describe(error: unknown): { error: string; detail: string } {
  const detail = error instanceof Error ? error.message : String(error);
  if (hasCode(error, 'callback_url_forbidden')) return { error: 'forbidden_address', detail };
  if (error instanceof errors.ConnectTimeoutError) return { error: 'connect_timeout', detail };
  if (error instanceof Error && error.name === 'TimeoutError') {
    return { error: 'timeout', detail: 'the receiver did not answer in time' };
  }
  if (error instanceof errors.HeadersTimeoutError) return { error: 'timeout', detail };
  const code = codeOf(error);
  if (code === 'ENOTFOUND' || code === 'EAI_AGAIN') return { error: 'name_not_found', detail };
  if (code === 'ECONNREFUSED') return { error: 'connection_refused', detail };
  if (/CERT|TLS|SSL|SELF_SIGNED|UNABLE_TO/.test(code)) return { error: 'tls', detail };
  return { error: 'connection_failed', detail: detail || code };
}

function codeOf(error: unknown): string {
  return typeof error === 'object' && error !== null && 'code' in error ? String(error.code) : '';
}
