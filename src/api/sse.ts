/**
 * Server-sent events: one stream to one caller. It says something now and then, so that no proxy takes it for
 * dead, and ends when the caller goes away, the server closes, or the caller reads too slowly (it comes back
 * with `Last-Event-ID` and misses nothing).
 */
import type { FastifyReply, FastifyRequest } from 'fastify';

const HEARTBEAT_MS = 15_000;
/** What may wait for a slow reader, in bytes. */
const MAX_WAITING_BYTES = 4_194_304;

export interface EventStream {
  /** Without an id the place to come back to stays that of the event before. */
  send(event: { id?: string; event?: string; data: unknown }): void;
  /** Aborted once nothing more can be sent. */
  over: AbortSignal;
  end(): void;
}

/** @param options.onOver called once, whoever ends the stream */
export function openEventStream(
  request: FastifyRequest,
  reply: FastifyReply,
  { closing, onOver }: { closing: AbortSignal; onOver: () => void },
): EventStream {
  const over = new AbortController();
  const { raw } = reply;
  reply.hijack();
  raw.writeHead(200, {
    ...(reply.getHeaders() as Record<string, string>),
    'content-type': 'text/event-stream; charset=utf-8',
    'cache-control': 'no-store',
    'x-accel-buffering': 'no',
    // Nobody sends a second request on it, and a closing server must not wait for one.
    connection: 'close',
  });
  raw.write(': open\n\n');
  const heartbeat = setInterval(() => write(': still here\n\n'), HEARTBEAT_MS);
  raw.once('close', end);
  raw.on('error', (error) => {
    request.log.debug({ event: 'api.stream.broken', reason: error.message }, 'the caller went away');
    end();
  });
  closing.addEventListener('abort', end, { signal: over.signal });
  if (closing.aborted) end();

  function write(text: string): void {
    if (over.signal.aborted) return;
    raw.write(text);
    if (raw.writableLength > MAX_WAITING_BYTES) raw.destroy();
  }

  function end(): void {
    if (over.signal.aborted) return;
    over.abort();
    clearInterval(heartbeat);
    onOver();
    raw.end();
  }

  return {
    send({ id, event, data }) {
      // JSON has no line breaks of its own, so that one `data:` line is enough.
      const head = `${event === undefined ? '' : `event: ${event}\n`}${id === undefined ? '' : `id: ${id}\n`}`;
      write(`${head}data: ${JSON.stringify(data)}\n\n`);
    },
    over: over.signal,
    end,
  };
}

/** `Last-Event-ID`, which browsers send when they come back. */
export function lastEventId(request: FastifyRequest): string | undefined {
  const header = request.headers['last-event-id'];
  return typeof header === 'string' && header !== '' ? header : undefined;
}
