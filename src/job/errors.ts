/**
 * What a failure means: one table for the API's problems and for what a worker does after a failed request.
 *
 * `retry` is the word for who repeats a request: `never` (it would fail again), `safe` (nothing was done), or
 * `reconcile` (the other side may have acted: ask before acting again). Codes are stable words that callers
 * build on. Translated at three borders only: HTTP replies, worker results, socket errors.
 */

export interface ErrorRow {
  /** The HTTP status where the API answers with it. */
  status: number;
  /** Public, one short sentence without a full stop. */
  title: string;
  retry: 'never' | 'safe' | 'reconcile';
}

export const ERRORS = {
  // Requests
  invalid_request: { status: 400, title: 'The request is not valid', retry: 'never' },
  invalid_json: { status: 400, title: 'The body is not JSON in UTF-8', retry: 'never' },
  unknown_field: { status: 400, title: 'The request has a field that is not known here', retry: 'never' },
  unsupported_media_type: { status: 415, title: 'The body must be application/json', retry: 'never' },
  body_too_large: { status: 413, title: 'The body is too large', retry: 'never' },
  uri_too_long: { status: 414, title: 'The address is too long', retry: 'never' },
  method_not_allowed: { status: 405, title: 'The method is not allowed here', retry: 'never' },
  invalid_page_token: { status: 400, title: 'The page token is not valid for this list', retry: 'never' },
  // Callers
  unauthenticated: { status: 401, title: 'A valid API key is required', retry: 'never' },
  forbidden: { status: 403, title: 'The API key may not do this', retry: 'never' },
  not_found: { status: 404, title: 'There is no such thing', retry: 'never' },
  // Jobs
  idempotency_key_reused: {
    status: 422,
    title: 'The idempotency key was used with another body',
    retry: 'never',
  },
  target_unknown: { status: 422, title: 'The target server is not registered', retry: 'never' },
  field_unsupported_by_agent: { status: 422, title: "The host's agent cannot do this", retry: 'never' },
  callback_secret_missing: { status: 422, title: 'The API key has no callback secret', retry: 'never' },
  callback_url_forbidden: { status: 422, title: 'The callback address may not be called', retry: 'never' },
  agent_job_unknown: { status: 404, title: "The host's agent knows no such job", retry: 'never' },
  unique_key_in_use: { status: 409, title: 'Another job holds the unique key', retry: 'never' },
  job_is_over: { status: 409, title: 'The job is over', retry: 'never' },
  // Batches
  batch_is_over: { status: 409, title: 'The batch is over, or about to be', retry: 'never' },
  batch_not_over: { status: 409, title: 'The batch is not over', retry: 'never' },
  // Hosts
  address_in_use: { status: 409, title: 'Another host has this address', retry: 'never' },
  token_required: { status: 422, title: 'This change must carry the token again', retry: 'never' },
  host_has_active_jobs: { status: 409, title: 'The host has active jobs', retry: 'never' },
  host_busy: { status: 503, title: 'The host takes no more requests now', retry: 'safe' },
  output_gone: { status: 410, title: 'The output is no longer there', retry: 'never' },
  // The gateway itself
  internal: { status: 500, title: 'The gateway failed', retry: 'reconcile' },
  store_unavailable: { status: 503, title: 'The store does not answer', retry: 'safe' },
  not_acknowledged: { status: 503, title: 'The request may or may not have been taken', retry: 'reconcile' },
  overloaded: { status: 503, title: 'The gateway has too many requests', retry: 'safe' },
  // Agents: what a request to a host can come to. As HTTP replies they show up in logs, checks and reads.
  agent_unreachable: { status: 502, title: 'The host could not be reached; nothing was sent', retry: 'safe' },
  agent_reply_lost: { status: 502, title: "The host's reply did not arrive", retry: 'reconcile' },
  agent_reply_invalid: { status: 502, title: "The host's reply makes no sense", retry: 'reconcile' },
  agent_failed: { status: 502, title: "The host's agent failed", retry: 'reconcile' },
  agent_busy: { status: 503, title: "The host's agent asks to wait", retry: 'safe' },
  agent_rejected: { status: 422, title: "The host's agent refused the job", retry: 'never' },
  agent_certificate_changed: { status: 502, title: 'The host shows another certificate', retry: 'safe' },
  agent_token_refused: { status: 502, title: 'The host refuses the token', retry: 'safe' },
  agent_address_refused: { status: 502, title: "The host refuses the gateway's address", retry: 'safe' },
  agent_unfit: { status: 502, title: 'The host lacks what the launcher needs', retry: 'safe' },
  agent_store_changed: { status: 502, title: "The host's records are not those of before", retry: 'never' },
  agent_canceled_before_start: { status: 409, title: 'The start was canceled on the host', retry: 'never' },
} as const satisfies Record<string, ErrorRow>;

export type ErrorCode = keyof typeof ERRORS;

/** An error with a code of the table. `detail` is public; `cause` is for the log only. */
export class SluiceError extends Error {
  readonly code: ErrorCode;
  /** More public fields for the problem document, such as `field` or `retry_after` (seconds). */
  readonly fields: Readonly<Record<string, unknown>>;

  constructor(
    code: ErrorCode,
    detail?: string,
    options: { fields?: Record<string, unknown>; cause?: unknown } = {},
  ) {
    super(detail ?? ERRORS[code].title, { cause: options.cause });
    this.name = 'SluiceError';
    this.code = code;
    this.fields = options.fields ?? {};
  }

  get status(): number {
    return ERRORS[this.code].status;
  }

  get retry(): ErrorRow['retry'] {
    return ERRORS[this.code].retry;
  }
}

/** Whether it is one of our errors, with one of these codes. */
export function hasCode(error: unknown, ...codes: ErrorCode[]): error is SluiceError {
  return error instanceof SluiceError && codes.includes(error.code);
}
