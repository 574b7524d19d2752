/**
 * Reading what an agent says: bytes to checked values, with bounds on every string that is kept. Whatever does
 * not fit is `agent_reply_invalid`; the reply itself is never repeated in the error, it may hold a job's output.
 */
import { SluiceError } from '../../job/errors.ts';

/** A compiled schema of `protocol/agent.ts`. */
export interface Checked<T> {
  Check(value: unknown): value is T;
}

/** @throws SluiceError agent_reply_invalid */
export function readReply<T>(body: Buffer, schema: Checked<T>): T {
  let value: unknown;
  try {
    value = JSON.parse(new TextDecoder('utf-8', { fatal: true }).decode(body));
  } catch (cause) {
    throw invalid('it is not JSON in UTF-8', cause);
  }
  if (!schema.Check(value)) throw invalid('its fields are not those of the protocol');
  return value;
}

export function invalid(why: string, cause?: unknown): SluiceError {
  return new SluiceError('agent_reply_invalid', `The host's reply makes no sense: ${why}`, { cause });
}

/** At most `length` characters of one line, for records and logs. */
export function brief(text: string, length = 300): string {
  // biome-ignore lint/suspicious/noControlCharactersInRegex: they are what must not get into a log line.
  const line = text.replace(/[\u0000-\u001f\u007f-\u009f]+/g, ' ').trim();
  return line.length <= length ? line : `${line.slice(0, length - 1)}…`;
}

/** Milliseconds since 1970; null for no time or none that is understood. */
export function timeOf(text: string | null | undefined): number | null {
  const time = Date.parse(text ?? '');
  return Number.isNaN(time) ? null : time;
}
