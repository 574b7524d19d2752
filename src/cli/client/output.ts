/**
 * Follows a job's output to its end. A connection that breaks, or a gateway that restarts, costs a pause: it goes
 * on at the byte after the last one it got.
 */
import { setTimeout as pause } from 'node:timers/promises';
import type { Client } from '../client.ts';
import { Failure } from '../failure.ts';
import { isAway } from './away.ts';
import { readEvents } from './event-stream.ts';

export type Stream = 'stdout' | 'stderr';

const PAUSE_MS = 1_000;
/** So often in a row it is tried again without a byte: a host may be gone for good, with what nobody has read. */
const TRIES = 60;

export interface Followed {
  id: string;
  /** Missing: the one that is under way when it is first asked for. */
  attempt?: number;
  stream: Stream;
  signal: AbortSignal;
}

/** @param write gets every byte once, in order */
export async function followOutput(
  client: Client,
  { id, attempt, stream, signal }: Followed,
  write: (bytes: Buffer) => void,
): Promise<void> {
  let next = 0;
  let tries = 0;
  while (!signal.aborted) {
    const before = next;
    try {
      const done = await readOnce();
      if (done) return;
    } catch (error) {
      if (signal.aborted) return;
      if (next > before) tries = 0;
      if (error instanceof Failure && (!isAway(error) || ++tries > TRIES)) throw error;
    }
    await pause(PAUSE_MS, undefined, { signal }).catch(() => {});
  }

  async function readOnce(): Promise<boolean> {
    const response = await client.open('GET', `/v1/jobs/${id}/logs`, {
      query: { stream, offset: `${next}`, attempt: attempt?.toString() },
      headers: { accept: 'text/event-stream' },
      signal,
    });
    for await (const event of readEvents(response.body as AsyncIterable<Uint8Array>)) {
      if (event.event === 'error') throw endedEarly(id, event.data);
      if (event.event === 'end') return true;
      const { data, encoding } = JSON.parse(event.data) as { data: string; encoding?: 'base64' };
      write(Buffer.from(data, encoding ?? 'utf8'));
      next = Number(event.id);
    }
    return false;
  }
}

/** @param data `{"code": ...}` of an event `error` */
function endedEarly(id: string, data: string): Failure {
  const { code } = JSON.parse(data) as { code: string };
  return new Failure(`${code}: the output of ${id} was not read to its end; \`logs\` shows it`);
}
