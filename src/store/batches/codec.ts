/** A batch as Redis keeps it: the request as one JSON text, its course as a hash of short strings that its scripts change. */
import type { Batch, BatchCounts, BatchLimit, BatchRequest, BatchState } from '../../job/batch.ts';
import { COUNTED, countedAs } from '../../job/batch.ts';
import { STATES } from '../../job/states.ts';
import { type Hash, pairs } from '../redis/replies.ts';

/** What its hash holds from its acceptance on; the rest is written by `course.ts`. */
export function encodeCourse(batch: Batch): (string | number)[] {
  const { waves, wave_pause_seconds: pause } = batch;
  return [
    ...[
      'state',
      'running',
      'version',
      1,
      'owner',
      batch.created_by,
      'total',
      batch.total,
      'made',
      0,
      'wave',
      1,
    ],
    ...['max_parallel', batch.max_parallel, 'on_limit', batch.on_limit],
    ...['max_failures', batch.max_failures ?? -1, 'max_unreachable', batch.max_unreachable ?? -1],
    ...['wave_end', Math.min(batch.total, waves?.[0] ?? batch.total)],
    ...(waves ? ['waves', JSON.stringify(waves)] : []),
    ...(pause === 0 ? [] : ['wave_pause_ms', pause === null ? -1 : pause * 1_000]),
    ...(batch.callback_url === null ? [] : ['callback', 1]),
    ...(batch.replaces === null ? [] : ['replaces', batch.replaces, 'held_for', batch.replaces]),
  ];
}

export function encodeBatchRequest(batch: Batch): string {
  const { state, version, counts, made, wave, stopped_because, next_wave_at, awaits_wave, ...rest } = batch;
  const { ended_at, canceled_by, cancel_reason, replaces, ...request } = rest;
  return JSON.stringify(request satisfies BatchRequest);
}

/** @throws Error if the hash is no batch's */
export function decodeBatch(request: string, hash: Hash): Batch {
  const asked = JSON.parse(request) as BatchRequest;
  if (hash.state === undefined) throw new Error('a batch without a state');
  const state = hash.state as BatchState;
  return {
    ...asked,
    state,
    version: Number(hash.version),
    counts: countsIn(hash, asked.total),
    made: Number(hash.made),
    wave: Number(hash.wave),
    stopped_because: (hash.stopped_because as BatchLimit | undefined) ?? null,
    next_wave_at: state === 'running' || state === 'paused' ? Number(hash.next_wave_at ?? 0) || null : null,
    awaits_wave: state === 'paused' && hash.awaits_wave === '1',
    ended_at: hash.ended_at === undefined ? null : Number(hash.ended_at),
    canceled_by: hash.canceled_by ?? null,
    cancel_reason: hash.cancel_reason || null,
    replaces: hash.replaces ?? null,
  };
}

function countsIn(hash: Hash, total: number): BatchCounts {
  const counts = Object.fromEntries(COUNTED.map((name) => [name, 0])) as BatchCounts;
  for (const state of STATES) counts[countedAs(state)] += Number(hash[`n:${state}`] ?? 0);
  const withJobs = Object.values(counts).reduce((sum, count) => sum + count, 0);
  return { ...counts, unstarted: total - withJobs };
}

/** An entry of the outbox: the batch as of the version that is to be told. */
export interface BatchOutboxEntry {
  id: string;
  version: number;
  type: string;
  at: number;
  batch: Batch;
}

/** @param request the batch's request; null if its record is gone */
export function decodeBatchEntry(text: string, request: string | null): BatchOutboxEntry | null {
  const { hash, ...entry } = JSON.parse(text) as Omit<BatchOutboxEntry, 'batch'> & { hash: string[] };
  return request === null ? null : { ...entry, batch: decodeBatch(request, pairs(hash)) };
}

/** A target in its list: the host, and what the caller wrote where that is something else. */
export function encodeTarget({ host, target_server }: { host: string; target_server: string }): string {
  return host === target_server ? host : `${host} ${target_server}`;
}

export function decodeTarget(text: string): { host: string; target_server: string } {
  const [host = '', target_server = host] = text.split(' ');
  return { host, target_server };
}
