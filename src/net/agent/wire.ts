/**
 * One HTTP exchange with a host: bounded in time by connect, headers, body and total deadlines, bounded in bytes
 * by hanging up. The border at which socket errors become ours: `agent_unreachable` if nothing was sent,
 * `agent_reply_lost` if anything was, `agent_reply_invalid` if what came was not HTTP or too much.
 */
import { type Dispatcher, errors } from 'undici';
import type { DialHost } from '../../job/agent-port.ts';
import { SluiceError } from '../../job/errors.ts';
import { createPools, type PoolLimits } from './pools.ts';

export interface WireLimits extends PoolLimits {
  /** From the request's last byte to the end of the reply's headers. */
  headersMs: number;
  /** Between two pieces of the reply. */
  bodyMs: number;
  /** All of an exchange, its wait for a connection included: what stops a reply that drips. */
  totalMs: number;
}

export interface WireRequest {
  method: 'GET' | 'POST';
  path: string;
  /** JSON */
  body?: string;
  /** Bytes of reply after which to hang up. */
  maxBytes: number;
  /** How long the agent may hold the reply, in ms: added to the deadlines. */
  holdMs?: number;
  /** Sees each piece; true once nothing more is needed. Without it a reply above `maxBytes` is an error. */
  enough?: (piece: Buffer) => boolean;
  /** On a connection of its own. */
  fresh?: boolean;
  signal?: AbortSignal;
}

export interface WireReply {
  status: number;
  headers: Record<string, string | string[] | undefined>;
  body: Buffer;
  /** The body goes on: we hung up. */
  cut: boolean;
  fingerprint: string | null;
}

/** Reading a reply of so few bytes to its end is cheaper than a new handshake after hanging up. */
const WORTH_READING = 65_536;

export function createWire(limits: WireLimits) {
  const pools = createPools(limits);

  async function exchange(host: DialHost, request: WireRequest): Promise<WireReply> {
    const line = pools.take(host, request.fresh ?? false);
    const hold = request.holdMs ?? 0;
    const pieces: Buffer[] = [];
    let bytes = 0;
    let status = 0;
    let headers: WireReply['headers'] = {};
    let satisfied = false;
    let sent = false;
    let settled = false;
    let controller: Dispatcher.DispatchController | null = null;

    return new Promise<WireReply>((resolve, reject) => {
      const deadline = setTimeout(() => give(new GaveUp('deadline')), limits.totalMs + hold);
      const onAbort = () => give(new GaveUp('withdrawn'));
      request.signal?.addEventListener('abort', onAbort, { once: true });

      function settle(): boolean {
        if (settled) return false;
        settled = true;
        clearTimeout(deadline);
        request.signal?.removeEventListener('abort', onAbort);
        line.release();
        return true;
      }
      function take(cut: boolean): void {
        if (!settle()) return;
        const reply = { status, headers, body: Buffer.concat(pieces), cut, fingerprint: line.shown() };
        // undici frees the connection one turn later: a next request sent before that would open a second one.
        setImmediate(() => setImmediate(resolve, reply));
      }
      /** Gives up, for an error of undici's or a reason of ours. */
      function give(error: Error): void {
        if (!settle()) return;
        controller?.abort(error);
        reject(translated(error, sent));
      }

      if (request.signal?.aborted) return onAbort();
      line.pool.dispatch(
        {
          method: request.method,
          path: request.path,
          headers: {
            'x-agent-token': host.token,
            accept: 'application/json',
            ...(request.body !== undefined && { 'content-type': 'application/json' }),
          },
          body: request.body ?? null,
          headersTimeout: limits.headersMs + hold,
          bodyTimeout: limits.bodyMs,
        },
        {
          onRequestStart(started) {
            controller = started;
            // Given up while it waited for a connection: it must not be sent any more.
            if (settled) started.abort(new Error('too late'));
            else sent = true;
          },
          onResponseStart(_, code, received) {
            status = code;
            headers = received;
          },
          onResponseData(current, piece) {
            if (settled) return;
            bytes += piece.length;
            if (!satisfied) pieces.push(piece);
            if (!satisfied && request.enough) satisfied = request.enough(piece);
            if (satisfied ? isWorthReading(headers, bytes) : bytes <= request.maxBytes) return;
            if (request.enough) take(true);
            else give(new TooMuch());
            current.abort(new Error('enough'));
          },
          onResponseEnd: () => take(false),
          onResponseError: (_, error) => give(error),
        },
      );
    });
  }

  return { exchange, close: pools.close };
}

function isWorthReading(headers: WireReply['headers'], bytes: number): boolean {
  return Number(headers['content-length'] ?? bytes) <= WORTH_READING && bytes <= WORTH_READING;
}

class TooMuch extends Error {}

class GaveUp extends Error {
  readonly code: 'deadline' | 'withdrawn';
  constructor(code: 'deadline' | 'withdrawn') {
    super(code);
    this.code = code;
  }
}

function translated(error: Error & { code?: string }, sent: boolean): SluiceError {
  if (error instanceof SluiceError) return error;
  const reason = error.code ?? error.name;
  if (!sent) return new SluiceError('agent_unreachable', `nothing was sent (${reason})`, { cause: error });
  if (error instanceof TooMuch) {
    return new SluiceError('agent_reply_invalid', "The host's reply is too long", { cause: error });
  }
  if (error instanceof errors.HTTPParserError || error instanceof errors.HeadersOverflowError) {
    return new SluiceError('agent_reply_invalid', "The host's reply is not HTTP", { cause: error });
  }
  return new SluiceError('agent_reply_lost', `The host's reply did not arrive (${reason})`, { cause: error });
}
