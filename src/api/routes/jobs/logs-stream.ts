/**
 * Following an attempt's output as server-sent events, to its end. `id` is the next offset, so that a caller who
 * comes back goes on at the byte after the last one it got. A host that is away makes it wait, not fail.
 */
import { isUtf8 } from 'node:buffer';
import { asOfAttempt } from '../../../job/attempts.ts';
import { hasCode, SluiceError } from '../../../job/errors.ts';
import type { Job } from '../../../job/record.ts';
import { isOver } from '../../../job/states.ts';
import type { EventStream } from '../../sse.ts';
import type { Waits } from '../../waiting.ts';
import type { ReadOutput, Wanted } from './output.ts';

export interface FollowDeps {
  readOutput: ReadOutput;
  waits: Waits;
}

/** Pauses between two questions, in seconds. Base agents count requests, and lock out who asks too often. */
const PAUSE_FULL = 1;
const PAUSE_BASE = 5;
const PAUSE_AWAY = 10;

export function createFollowOutput({ readOutput, waits }: FollowDeps) {
  return async (job: Job, wanted: Wanted, stream: EventStream): Promise<void> => {
    let { offset } = wanted;
    for (let now = job; !stream.over.aborted; ) {
      const range = await readIfThere(now, { ...wanted, offset });
      if (range && range.data.length > 0) {
        const data = range.complete ? range.data : wholeCharacters(range.data);
        const next = range.offset + data.length;
        stream.send({ id: `${next}`, data: { offset: range.offset, ...encoded(data) } });
        offset = next;
      }
      if (range?.complete) {
        stream.send({
          id: `${offset}`,
          event: 'end',
          data: { offset, state: asOfAttempt(now, wanted.attempt).state },
        });
        return stream.end();
      }
      if (range && range.data.length >= wanted.limit) continue;
      now = await changeOrPause(now, pauseFor(now, range !== null), stream);
    }
  };

  /** @returns null while the host cannot be asked */
  async function readIfThere(job: Job, wanted: Wanted) {
    try {
      return await readOutput(job, wanted);
    } catch (error) {
      const { state } = asOfAttempt(job, wanted.attempt);
      if (isOver(state) || hasCode(error, 'output_gone') || !(error instanceof SluiceError)) throw error;
      return null;
    }
  }

  async function changeOrPause(job: Job, seconds: number, stream: EventStream): Promise<Job> {
    const watch = { id: job.id, ready: ({ version }: { version: number }) => version > job.version };
    const [now] = await waits.until([watch], { seconds, mode: 'all', signal: stream.over });
    return now ?? job;
  }
}

function pauseFor(job: Job, answered: boolean): number {
  if (!answered) return PAUSE_AWAY;
  return job.started_by === 'full' ? PAUSE_FULL : PAUSE_BASE;
}

function encoded(data: Buffer): { data: string; encoding?: 'base64' } {
  return isUtf8(data)
    ? { data: data.toString('utf8') }
    : { data: data.toString('base64'), encoding: 'base64' };
}

/** Without a character at the end that is not all there yet; bytes that can be no character stay. */
function wholeCharacters(data: Buffer): Buffer {
  for (let back = 1; back <= Math.min(3, data.length - 1); back++) {
    const byte = data[data.length - back] as number;
    if ((byte & 0xc0) === 0x80) continue;
    const length = byte >= 0xf0 ? 4 : byte >= 0xe0 ? 3 : byte >= 0xc0 ? 2 : 1;
    return length > back ? data.subarray(0, data.length - back) : data;
  }
  return data;
}
