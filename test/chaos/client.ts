/**
 * How callers reach a gateway whose processes come and go: any of its addresses, with an end to every wait. An answer
 * below 500 is one; everything else is repeated by whoever wants an answer. A 500 is a mistake of the gateway.
 */
import { setTimeout as pause } from 'node:timers/promises';
import type { Random } from '../helpers/random.ts';
import type { Ledger } from './ledger.ts';

export interface Reply {
  status: number;
  body: Record<string, unknown>;
  headers: Headers;
  /** As it came. */
  bytes: Buffer;
}

export interface Ask {
  body?: unknown;
  headers?: Record<string, string>;
  /** Gives up after so many ms. */
  timeoutMs?: number;
}

export type Client = ReturnType<typeof createClient>;

const TIMEOUT_MS = 6_000;
/** Above a 503's own `Retry-After`, nobody would be seen to wait. */
const PAUSE_MS = 300;

export function createClient(deps: { urls: string[]; apiKey: string; ledger: Ledger; random: Random }) {
  /** @returns null where nobody answered */
  async function once(method: string, path: string, ask: Ask = {}): Promise<Reply | null> {
    const { body, headers = {}, timeoutMs = TIMEOUT_MS } = ask;
    try {
      const response = await fetch(deps.random.oneOf(deps.urls) + path, {
        method,
        signal: AbortSignal.timeout(timeoutMs),
        headers: {
          authorization: `Bearer ${deps.apiKey}`,
          ...(body !== undefined && { 'content-type': 'application/json' }),
          ...headers,
        },
        ...(body !== undefined && { body: JSON.stringify(body) }),
      });
      const bytes = Buffer.from(await response.arrayBuffer());
      const isJson = (response.headers.get('content-type') ?? '').includes('json');
      const parsed = isJson ? (JSON.parse(bytes.toString('utf8')) as Record<string, unknown>) : {};
      if (response.status === 500) deps.ledger.internalError(`${method} ${path}: ${bytes.toString('utf8')}`);
      return { status: response.status, body: parsed, headers: response.headers, bytes };
    } catch {
      return null;
    }
  }

  /** Asks until it has an answer below 500 that is not 429; null once `stop` is aborted. */
  async function surely(method: string, path: string, ask: Ask, stop: AbortSignal): Promise<Reply | null> {
    while (!stop.aborted) {
      const reply = await once(method, path, ask);
      if (reply && reply.status < 500 && reply.status !== 429) return reply;
      deps.ledger.repeat();
      await pause(PAUSE_MS * deps.random.between(0.5, 1.5));
    }
    return null;
  }

  return { once, surely };
}
