/**
 * From a valid body to a job: what a schema cannot say (bytes, times, texts that no shell can take), and the
 * record with its defaults filled in. Pure but for the id and the sealing.
 */
import { decodeTime } from 'ulid';
import { SluiceError } from '../../../job/errors.ts';
import type { HostConfig } from '../../../job/host.ts';
import { type Job, NOT_STARTED } from '../../../job/record.ts';
import { envPlace, type Sealer } from '../../../store/sealing.ts';
import { createIds } from '../../ids.ts';
import { COMMAND_BYTES, ENV_BYTES, type SubmitBody } from './submit.schema.ts';

/** @throws SluiceError invalid_request with the field at fault */
export function checkBody(body: Omit<SubmitBody, 'target_server'>): void {
  const texts = { command: body.command, shell: body.shell, workdir: body.workdir };
  for (const [field, text] of Object.entries(texts)) checkText(field, text ?? '');
  if (Buffer.byteLength(body.command) > COMMAND_BYTES) refuse('command', 'is larger than 64 KiB');
  if (body.command.trim() === '') refuse('command', 'is empty');
  for (const field of ['env', 'secret_env'] as const) checkEnvironment(field, body[field] ?? {});
  checkLabels(body.labels ?? {});
  const twice = Object.keys(body.env ?? {}).find((name) => Object.hasOwn(body.secret_env ?? {}, name));
  checkText('unique_key', body.unique_key ?? '');
  if (body.on_duplicate !== undefined && typeof body.unique_key !== 'string') {
    refuse('on_duplicate', 'needs a unique_key');
  }
  if (twice !== undefined) refuse(`secret_env.${twice}`, 'is in env too');
}

/** @throws SluiceError invalid_request with the label at fault */
export function checkLabels(labels: Record<string, string>): void {
  for (const [name, value] of Object.entries(labels)) checkText(`labels.${name}`, value);
}

/**
 * @param deps.now the store's clock, in ms
 * @returns how to make a new record; ids grow within a process, and carry the time of `created_at`
 */
export function createOrders(deps: { now: () => number; sealer: Pick<Sealer, 'seal'> }) {
  const nextUlid = createIds();

  return (body: SubmitBody, host: HostConfig, from: { caller: string; traceparent: string | null }): Job => {
    const ulid = nextUlid(deps.now());
    const id = `job_${ulid}`;
    const created_at = decodeTime(ulid);
    return {
      ...NOT_STARTED,
      ...wishesOf(body, created_at),
      state: 'queued',
      version: 1,
      id,
      target_server: body.target_server,
      host: host.name,
      sealed_env: sealEnvironment(deps.sealer, id, body),
      unique_key: body.unique_key ?? null,
      callback_url: body.callback_url ?? null,
      created_by: from.caller,
      created_at,
      traceparent: from.traceparent,
      batch_id: null,
      batch_index: null,
    };
  };
}

/** What a command is to be run with, wherever it runs; of batches, too. */
export type Wishes = Omit<SubmitBody, 'target_server' | 'unique_key' | 'on_duplicate' | 'callback_url'>;

/**
 * The same with its defaults filled in.
 * @throws SluiceError invalid_request with the field at fault
 */
export function wishesOf(body: Wishes, now: number) {
  return {
    command: body.command,
    mode: body.mode,
    job_user: body.job_user ?? null,
    shell: body.shell ?? null,
    workdir: body.workdir ?? null,
    timeout_seconds: body.timeout_seconds ?? null,
    start_deadline_seconds: body.start_deadline_seconds,
    lost_after_seconds: body.lost_after_seconds,
    poll_interval: body.poll_interval,
    not_before: startTime(body, now),
    priority: body.priority,
    labels: body.labels ?? {},
    on_ambiguous_start: body.on_ambiguous_start,
    leftovers: body.leftovers,
    retry: body.retry && body.retry.max_attempts > 1 ? body.retry : null,
  };
}

function startTime({ not_before, start_deadline_seconds }: Wishes, now: number): number | null {
  if (not_before === undefined || not_before === null) return null;
  const at = Date.parse(not_before);
  if (Number.isNaN(at)) refuse('not_before', 'is no time');
  if (at >= now + start_deadline_seconds * 1_000) {
    refuse('not_before', 'lies behind the start deadline; raise start_deadline_seconds');
  }
  return at;
}

/** @param id of the job or the batch that it belongs to */
export function sealEnvironment(sealer: Pick<Sealer, 'seal'>, id: string, body: Wishes): string | null {
  const { env, secret_env } = body;
  if (env === undefined && secret_env === undefined) return null;
  return sealer.seal(JSON.stringify({ env, secret_env }), envPlace(id));
}

function checkEnvironment(field: string, env: Record<string, string>): void {
  for (const [name, value] of Object.entries(env)) checkText(`${field}.${name}`, value);
  if (environmentBytes(env) > ENV_BYTES) refuse(field, 'is larger than 32 KiB');
}

/** Its names and values as UTF-8. */
export function environmentBytes(env: Record<string, string>): number {
  return Object.entries(env)
    .flat()
    .reduce((sum, text) => sum + Buffer.byteLength(text), 0);
}

/** A NUL ends a string on the host; a lone surrogate has no UTF-8. Either would change the text silently. */
function checkText(field: string, text: string): void {
  if (text.includes('\0')) refuse(field, 'contains a NUL');
  if (!text.isWellFormed()) refuse(field, 'contains half a surrogate pair, which has no UTF-8');
}

function refuse(field: string, what: string): never {
  throw new SluiceError('invalid_request', `${field} ${what}`, { fields: { field } });
}
