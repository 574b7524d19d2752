/**
 * A range of a plain Base job's output. The newest generation has `GET /logs`, the others only `/status` with
 * all of it, of which as much is read as it takes to get to the range's end. Bytes that the agent replaced or
 * dropped because they were not UTF-8 stay so.
 */
import { type DialHost, type LogRange, MAX_RANGE_BYTES } from '../../job/agent-port.ts';
import { hasCode, SluiceError } from '../../job/errors.ts';
import type { Exchange } from './exchange.ts';
import { createMemberReader } from './json-members.ts';
import { invalid } from './reply.ts';

/** How far into a reply a range is looked for; what is further can only be read where it was written. */
const MAX_REPLY_BYTES = 16_777_216;

interface Wanted {
  stream: 'stdout' | 'stderr';
  offset: number;
  limit: number;
}

export function createBaseOutput(exchange: Exchange) {
  /** Hosts that answered 404; asked again by the next process. */
  const withoutLogs = new Set<string>();

  return async function read(host: DialHost, agentJobId: string, wanted: Wanted): Promise<LogRange> {
    const range = { ...wanted, limit: Math.min(wanted.limit, MAX_RANGE_BYTES) };
    const id = encodeURIComponent(agentJobId);
    if (!withoutLogs.has(host.address)) {
      const query = `stream=${range.stream}&offset=${range.offset}`;
      const part = createRangeReader('data', 0, range.limit);
      try {
        await fetch(host, 'logs', `/logs/${id}?${query}`, part);
        return part.logRange(range.offset);
      } catch (error) {
        if (!hasCode(error, 'agent_reply_invalid') || error.fields.http_status !== 404) throw error;
        if (withoutLogs.size >= 10_000) withoutLogs.clear();
        withoutLogs.add(host.address);
      }
    }
    const part = createRangeReader(range.stream, range.offset, range.limit);
    await fetch(host, 'status', `/status/${id}`, part);
    if (!part.reached()) {
      throw new SluiceError('output_gone', "The host's agent cannot show this part of the output");
    }
    return part.statusRange(range.offset);
  };

  async function fetch(host: DialHost, what: 'logs' | 'status', path: string, part: RangeReader) {
    await exchange.send(host, {
      what,
      method: 'GET',
      path,
      maxBytes: MAX_REPLY_BYTES,
      enough: (piece) => part.push(piece),
    });
  }
}

type RangeReader = ReturnType<typeof createRangeReader>;

/** Takes `limit` bytes at `offset` of the string member `name` out of a reply, and its numbers and words. */
export function createRangeReader(name: string, offset: number, limit: number) {
  const pieces: Buffer[] = [];
  const literals = new Map<string, string>();
  let seen = 0;
  let taken = 0;
  let ended = false;
  let broken = false;
  const members = createMemberReader({
    text(key, piece) {
      if (key !== name) return;
      const from = Math.max(offset - seen, 0);
      const part = piece.subarray(from, from + limit - taken);
      seen += piece.length;
      taken += part.length;
      // A copy: the piece belongs to a larger buffer that would be kept with it.
      if (part.length > 0) pieces.push(Buffer.from(part));
    },
    textEnd(key) {
      if (key === name) ended = true;
    },
    literal(key, word) {
      literals.set(key, word);
      if (key === name) ended = true;
    },
  });
  const isCut = () => seen > offset + taken;
  const full = () => taken >= limit && isCut();

  return {
    push(piece: Buffer): boolean {
      if (broken) return false;
      try {
        members.push(piece);
      } catch {
        broken = true;
      }
      return full();
    },
    /** The reply went far enough to know the bytes at `offset`, or that there are none. */
    reached: () => ended || taken > 0,
    /** From `/logs`: the agent says where to go on, unless more came than was wanted. */
    logRange(at: number): LogRange {
      const data = Buffer.concat(pieces);
      const next = Number(literals.get('next') ?? Number.NaN);
      if (isCut() || !ended) return { data, next: at + data.length, eof: false };
      if (!Number.isSafeInteger(next) || next < at) throw invalid('not the range asked for');
      return { data, next, eof: literals.get('eof') === 'true' };
    },
    /** From `/status`: it is the end if the stream ends here and the job is over. */
    statusRange(at: number): LogRange {
      const data = Buffer.concat(pieces);
      const over = (literals.get('return_code') ?? 'null') !== 'null';
      return { data, next: at + data.length, eof: over && ended && !isCut() };
    },
  };
}
