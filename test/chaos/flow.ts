/**
 * One direction of one proxied connection: the bytes that one socket sends, in order, on their way to the other. Used by
 * `proxy.ts` only.
 */
import type { Socket } from 'node:net';

export interface Flow {
  /** Holds everything back until `mend`. */
  stall(): void;
  /** Drops everything until `mend`. */
  lose(): void;
  slow(bytesPerSecond: number): void;
  /** Lets so many more bytes through, then resets the connection. A second call before `mend` changes nothing. */
  endAfter(bytes: number): void;
  /** Something was dropped: the rest makes no sense any more. */
  hasHole(): boolean;
  mend(): void;
}

const SLICE_MS = 50;

export function createFlow(from: Socket, to: Socket, reset: () => void): Flow {
  let mode: 'pass' | 'stall' | 'lose' | 'slow' = 'pass';
  let bytesPerSecond = 0;
  let left = Number.POSITIVE_INFINITY;
  let hole = false;
  let ended = false;
  let timer: NodeJS.Timeout | null = null;
  const held: Buffer[] = [];

  from.on('data', (chunk: Buffer) => {
    if (mode === 'lose') hole = true;
    else if (mode === 'pass' && held.length === 0) write(chunk);
    else {
      held.push(chunk);
      from.pause();
      goOn();
    }
  });
  from.on('end', () => {
    ended = true;
    goOn();
  });
  from.once('close', () => timer && clearTimeout(timer));
  to.on('drain', () => mode === 'pass' && from.resume());

  function write(chunk: Buffer): void {
    const isLast = chunk.length >= left;
    const passed = isLast ? chunk.subarray(0, left) : chunk;
    left -= passed.length;
    if (!to.write(passed) && !isLast) from.pause();
    // The other side gets what passed before it sees the reset, most of the time; as in life.
    if (isLast) setTimeout(reset, SLICE_MS);
  }

  /** Sends what was held back, as fast as this direction goes. */
  function goOn(): void {
    if (timer || mode === 'stall' || mode === 'lose') return;
    const slice = Math.max(1, Math.floor((bytesPerSecond * SLICE_MS) / 1_000));
    let budget = mode === 'slow' ? slice : Number.POSITIVE_INFINITY;
    while (held.length > 0 && budget > 0) {
      const chunk = held.shift() as Buffer;
      const part = chunk.length > budget ? chunk.subarray(0, budget) : chunk;
      if (part.length < chunk.length) held.unshift(chunk.subarray(part.length));
      budget -= part.length;
      write(part);
    }
    if (held.length > 0) {
      timer = setTimeout(() => {
        timer = null;
        goOn();
      }, SLICE_MS);
      return;
    }
    if (ended) to.end();
    else from.resume();
  }

  return {
    stall() {
      mode = 'stall';
    },
    lose() {
      mode = 'lose';
      hole ||= held.length > 0;
      held.length = 0;
      from.resume();
    },
    slow(rate) {
      mode = 'slow';
      bytesPerSecond = rate;
    },
    endAfter(bytes) {
      if (left === Number.POSITIVE_INFINITY) left = bytes;
    },
    hasHole: () => hole,
    mend() {
      mode = 'pass';
      left = Number.POSITIVE_INFINITY;
      goOn();
    },
  };
}
