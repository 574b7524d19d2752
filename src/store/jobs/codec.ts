/**
 * A job as Redis keeps it: the request as one JSON text, the progress as a hash of short strings. In both a field
 * at its usual value is absent: that halves what a waiting job costs, and lets its hash fit into a listpack.
 */
import { type Job, type JobProgress, type JobRequest, NOT_STARTED } from '../../job/record.ts';
import { isState } from '../../job/states.ts';
import { type Hash, pairs } from '../replies.ts';

const NUMBERS = new Set<string>([
  'version',
  'attempt',
  'dispatched_at',
  'started_at',
  'ended_at',
  'unreachable_since',
  'unanswered_asks',
  'lost_at',
  'sighted_at',
  'recovered_at',
  'cancel_requested_at',
  'cancel_delivered_at',
  'stdout_bytes',
  'stderr_bytes',
]);
const OBJECTS = new Set<string>(['cancel', 'outcome']);

/** What a request usually says; absent from its text. Values here must never change: old records rely on them. */
export const USUAL = {
  mode: 'async',
  job_user: null,
  sealed_env: null,
  shell: null,
  workdir: null,
  timeout_seconds: null,
  start_deadline_seconds: 604_800,
  lost_after_seconds: 86_400,
  poll_interval: 15,
  not_before: null,
  priority: 5,
  on_ambiguous_start: 'lose',
  leftovers: 'keep',
  callback_url: null,
  traceparent: null,
} as const satisfies Partial<JobRequest>;

export function encodeRequest(request: JobRequest): string {
  const unusual = Object.entries(request).filter(
    ([field, value]) => (USUAL as Record<string, unknown>)[field] !== value,
  );
  return JSON.stringify(Object.fromEntries(unusual));
}

/** What to set and what to delete so that the hash holds `progress`. `next_poll_at` lives in the followed set. */
export function encodeProgress(progress: Partial<JobProgress>): { set: string[]; del: string[] } {
  const set: string[] = [];
  const del: string[] = [];
  for (const [field, value] of Object.entries(progress)) {
    if (field === 'next_poll_at' || value === undefined) continue;
    if (value === null) del.push(field);
    else set.push(field, OBJECTS.has(field) ? JSON.stringify(value) : String(value));
  }
  return { set, del };
}

/** @throws Error if the hash is no job's */
export function decodeJob(request: string, hash: Hash): Job {
  const progress: Record<string, unknown> = { ...NOT_STARTED };
  for (const [field, text] of Object.entries(hash)) {
    // The store's own mark of the last move; see transition.ts.
    if (field === 'move') continue;
    progress[field] = decodeField(field, text);
  }
  const state = hash.state ?? '';
  if (!isState(state)) throw new Error(`a job's record has the state ${JSON.stringify(state)}`);
  return { ...USUAL, ...(JSON.parse(request) as JobRequest), ...(progress as unknown as JobProgress) };
}

function decodeField(field: string, text: string): unknown {
  if (NUMBERS.has(field)) return Number(text);
  if (OBJECTS.has(field)) return JSON.parse(text);
  return text;
}

/** An entry of the outbox: the job as of the version that is to be told. */
export interface OutboxEntry {
  id: string;
  version: number;
  type: string;
  at: number;
  job: Job;
}

/** @param request the job's request; null if its record is gone, which makes the entry nobody's */
export function decodeOutboxEntry(text: string, request: string | null): OutboxEntry | null {
  const { hash, ...entry } = JSON.parse(text) as Omit<OutboxEntry, 'job'> & { hash: string[] };
  return request === null ? null : { ...entry, job: decodeJob(request, pairs(hash)) };
}
