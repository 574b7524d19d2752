/** Waits for a condition, never for a time: `await until(() => job.state === 'running')`. */
import { setTimeout as pause } from 'node:timers/promises';

/**
 * Polls `condition` until it returns something truthy, and returns that.
 * @param options.timeoutMs how long it may take; the error then names `options.what`
 */
export async function until<T>(
  condition: () => T | Promise<T>,
  options: { timeoutMs?: number; everyMs?: number; what?: string } = {},
): Promise<NonNullable<Exclude<T, false>>> {
  const { timeoutMs = 20_000, everyMs = 20, what = 'the condition' } = options;
  const end = Date.now() + timeoutMs;
  let last: unknown;
  for (;;) {
    try {
      const value = await condition();
      if (value) return value as NonNullable<Exclude<T, false>>;
      last = value;
    } catch (error) {
      last = error;
    }
    if (Date.now() > end) {
      throw new Error(`gave up on ${what} after ${timeoutMs} ms`, { cause: last });
    }
    await pause(everyMs);
  }
}
