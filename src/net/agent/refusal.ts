/**
 * What an agent's refusal means: the border at which HTTP statuses and the agents' own error words become
 * `SluiceError`s. The agent's word and its HTTP status stay in `fields` (`agent_code`, `http_status`).
 *
 * A host's trouble must never look like a job's: only an agent's own JSON makes `agent_rejected`, because that
 * fails the job; the same status from a proxy's page is a reply that makes no sense.
 */
import { type ErrorCode, SluiceError } from '../../job/errors.ts';
import { retryAfterMs } from '../retry-after.ts';
import { brief } from './reply.ts';
import type { WireReply } from './wire.ts';

type Refused = Pick<WireReply, 'status' | 'headers' | 'body'>;

/** The refusal in `reply`, or null if it is none. */
export function refusalIn(reply: Refused): SluiceError | null {
  if (reply.status >= 200 && reply.status < 300) return null;
  const said = wordsOf(reply);
  const code = (said && BY_WORD[said.code]) ?? byStatus(reply.status, said !== null);
  const fields: Record<string, unknown> = { http_status: reply.status };
  if (said) fields.agent_code = said.code;
  if (code === 'agent_busy') {
    fields.retry_after = secondsToWait(reply.headers['retry-after']) ?? PAUSES[said?.code ?? ''] ?? 10;
  }
  const words = said ? [said.code, said.message].filter(Boolean).join(': ') : `HTTP ${reply.status}`;
  return new SluiceError(code, `The host's agent answers ${words}`, { fields });
}

/** What the first generation answers to everything when the token is wrong, and to some requests when it fails. */
export function isBareServerError(reply: Refused): boolean {
  return reply.status === 500 && reply.body.toString('latin1').trim() === 'Internal Server Error';
}

const BY_WORD: Record<string, ErrorCode | undefined> = {
  invalid_token: 'agent_token_refused',
  ip_not_allowed: 'agent_address_refused',
  rate_limited: 'agent_busy',
  busy: 'agent_busy',
  draining: 'agent_busy',
  // The job can wait for room; the host's operator is told by the detail.
  disk_full: 'agent_busy',
  store_changed: 'agent_store_changed',
  canceled_before_start: 'agent_canceled_before_start',
};

/** Seconds to wait after a word, where the agent does not say. Base agents count over a sliding minute. */
const PAUSES: Record<string, number | undefined> = { rate_limited: 15, busy: 2, draining: 15, disk_full: 60 };

function byStatus(status: number, spoken: boolean): ErrorCode {
  // Whoever refuses everything refuses no job: a 403 in words that are not known is the host's trouble.
  if (status === 401 || status === 403) return 'agent_token_refused';
  if (status === 429 || status === 503 || status === 507) return 'agent_busy';
  if (status >= 500) return 'agent_failed';
  const verdict = [400, 409, 413, 422].includes(status);
  return verdict && spoken ? 'agent_rejected' : 'agent_reply_invalid';
}

/** `{"error","message"}`, or the `{"detail"}` of Python agents whose framework did not like the body. */
function wordsOf(reply: Refused): { code: string; message: string | null } | null {
  let body: unknown;
  try {
    body = JSON.parse(reply.body.toString('utf8'));
  } catch {
    return null;
  }
  if (typeof body !== 'object' || body === null) return null;
  if ('error' in body && typeof body.error === 'string') {
    const message = 'message' in body && typeof body.message === 'string' ? brief(body.message) : null;
    return { code: brief(body.error, 64), message };
  }
  if ('detail' in body) return { code: 'invalid_body', message: brief(JSON.stringify(body.detail)) };
  return null;
}

/** In whole seconds, between 1 and 3600. */
function secondsToWait(header: string | string[] | undefined): number | null {
  const ms = retryAfterMs(header, Date.now());
  return ms === null ? null : Math.min(Math.max(Math.ceil(ms / 1000), 1), 3600);
}
