/**
 * A job as Redis keeps it: the request as one JSON text, the progress as a hash of short strings. In both a field
 * at its usual value is absent: that halves what a waiting job costs, and lets its hash fit into a listpack.
 */
import { decodeTime } from 'ulid';
import { type Job, type JobProgress, type JobRequest, launchToken, NOT_STARTED } from '../../job/record.ts';
import { isState } from '../../job/states.ts';
import { type Hash, pairs } from '../redis/replies.ts';
import { isEvent } from './events.ts';

const NUMBERS = new Set<string>([
  'version',
  'attempt',
  'dispatched_at',
  'let_go_at',
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
  // Of the request; see glance.ts.
  'poll_interval',
]);
const OBJECTS = new Set<string>(['cancel', 'outcome', 'attempts']);

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
  retry: null,
  unique_key: null,
  callback_url: null,
  traceparent: null,
  batch_id: null,
  batch_index: null,
} as const satisfies Partial<JobRequest>;

const REQUEST_FIELDS = Object.keys({
  ...USUAL,
  id: null,
  target_server: null,
  host: null,
  command: null,
  labels: null,
  created_by: null,
  created_at: null,
  idempotency: null,
} satisfies Record<keyof JobRequest, unknown>) as (keyof JobRequest)[];

/** @param request may be a whole job: its progress is left out */
export function encodeRequest(request: JobRequest): string {
  const usual: Record<string, unknown> = USUAL;
  const implied: Record<string, unknown> = impliedBy(request.id, request.target_server);
  const unusual: Record<string, unknown> = {};
  for (const field of REQUEST_FIELDS) {
    const value = request[field];
    if (value !== usual[field] && value !== implied[field]) unusual[field] = value;
  }
  return JSON.stringify(unusual);
}

/** What a request says once more with its id and its target. */
function impliedBy(id: string, target_server: string) {
  return { id, host: target_server, created_at: decodeTime(id.slice(-26)) };
}

/** In place of an agent's id that is the launch token of the present attempt. */
export const OWN_TOKEN = '=';

/**
 * What to set and what to delete so that the hash holds `progress`. `next_poll_at` lives in the followed set.
 * @param token the job's launch token in the attempt that `progress` is of
 */
export function encodeProgress(
  progress: Partial<JobProgress>,
  token: string,
): { set: string[]; del: string[] } {
  const set: string[] = [];
  const del: string[] = [];
  for (const [field, value] of Object.entries(progress)) {
    if (field === 'next_poll_at' || value === undefined) continue;
    if (value === null) del.push(field);
    else if (field === 'agent_job_id' && value === token) set.push(field, OWN_TOKEN);
    else set.push(field, OBJECTS.has(field) ? JSON.stringify(value) : String(value));
  }
  return { set, del };
}

/** A record as a script reads it: the request, and the hash as a list of fields and values. */
export type RawRecord = [request: string | null, hash: string[]];

/** @returns null where one of both is gone @throws Error if the hash is no job's */
export function decodeRecord(id: string, [request, hash]: RawRecord): Job | null {
  return request === null || hash.length === 0 ? null : decodeJob(id, request, pairs(hash));
}

/** @throws Error if the hash is no job's */
export function decodeJob(id: string, request: string, hash: Hash): Job {
  return { ...USUAL, ...decodeRequest(id, request), ...decodeProgress(id, hash) };
}

/** @throws Error if the hash is no job's */
export function decodeProgress(id: string, hash: Hash): JobProgress {
  const fields: Record<string, unknown> = { ...NOT_STARTED };
  for (const [field, text] of Object.entries(hash)) {
    // The store's own mark of the last move; see transition.ts.
    if (field === 'move' || isEvent(field)) continue;
    fields[field] = decodeField(field, text);
  }
  const state = hash.state ?? '';
  if (!isState(state)) throw new Error(`a job's record has the state ${JSON.stringify(state)}`);
  const progress = fields as unknown as JobProgress;
  if (progress.agent_job_id === OWN_TOKEN) {
    progress.agent_job_id = launchToken({ id, attempt: progress.attempt });
  }
  return progress;
}

function decodeRequest(id: string, text: string): JobRequest {
  const request = JSON.parse(text) as JobRequest;
  return { ...impliedBy(id, request.target_server), ...request };
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
  return request === null ? null : { ...entry, job: decodeJob(entry.id, request, pairs(hash)) };
}
