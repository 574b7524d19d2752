/** The agent's log: one JSON line per event on stderr. It needs no more than this, so it brings no logging library. */

export interface Logger {
  info(fields: Record<string, unknown>, event: string): void;
  warn(fields: Record<string, unknown>, event: string): void;
  error(fields: Record<string, unknown>, event: string): void;
}

export function createJsonLog(write: (line: string) => void): Logger {
  const at = (level: string) => (fields: Record<string, unknown>, event: string) =>
    write(`${JSON.stringify({ time: new Date().toISOString(), level, event, ...readable(fields) })}\n`);
  return { info: at('info'), warn: at('warn'), error: at('error') };
}

/** An Error has no enumerable fields: JSON would show it as `{}`. */
function readable(fields: Record<string, unknown>): Record<string, unknown> {
  if (!(fields.err instanceof Error)) return fields;
  return { ...fields, err: { message: fields.err.message, stack: fields.err.stack } };
}
