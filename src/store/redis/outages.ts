/**
 * Outages of Redis in a program's log: away, full, read-only, unable to write to its disk. Everything that is tried
 * meanwhile fails, many times a second, and says nothing new: so one line tells that it began (one more what Redis itself
 * says, where connections broke first), and one that it is over, with how long it took. In between such failures are told at level `debug` only; all others as ever.
 *
 * An outage is over when a write goes through, and not before: a Redis that is full answers all reads.
 */
import type { LogFn, Logger } from 'pino';
import { SluiceError } from '../../job/errors.ts';
import type { Redis } from '../redis.ts';
import { troubleOf } from './trouble.ts';

export interface Outages {
  /** The program's log, quiet about what fails because Redis does. */
  log: Logger;
  /** Something failed. @returns whether it is the store's trouble, and told by that */
  noticed(error: unknown): boolean;
  close(): void;
}

const PROBE_EVERY_MS = 1_000;

export function createOutages(deps: {
  /** A connection that fails fast. */
  redis: Redis;
  /** Written to find out whether writes go through. */
  key: string;
  log: Logger;
}): Outages {
  const { redis, key, log } = deps;
  let outage: { since: number; failures: number; isExplained: boolean } | null = null;
  let timer: NodeJS.Timeout | undefined;
  let closed = false;

  function noticed(error: unknown): boolean {
    const reason = error instanceof Error ? error.message : String(error);
    const trouble = troubleOf(reason);
    if (trouble === null) return false;
    // What fails once its connections are being closed is no outage, and would be asked about for ever.
    if (outage === null && !closed) {
      outage = { since: performance.now(), failures: 0, isExplained: trouble === 'refused' };
      log.error({ trouble, reason }, 'redis.outage');
      timer = setTimeout(probe, PROBE_EVERY_MS).unref();
    } else if (outage?.isExplained === false && trouble === 'refused') {
      // It began with connections that broke; this is what Redis itself says, such as a wrong password.
      outage.isExplained = true;
      log.error({ trouble, reason }, 'redis.outage');
    }
    if (outage) outage.failures += 1;
    return true;
  }

  async function probe(): Promise<void> {
    try {
      await redis.set(key, '', 'PX', PROBE_EVERY_MS);
    } catch {
      timer?.refresh();
      return;
    }
    if (outage === null) return;
    const { since, failures } = outage;
    outage = null;
    log.info({ seconds: Math.round((performance.now() - since) / 100) / 10, failures }, 'redis.back');
  }

  const quiet = log.child({});
  for (const level of ['warn', 'error'] as const) {
    const tell = log[level].bind(log) as LogFn;
    quiet[level] = ((fields: object, text?: string) => {
      const error = causeIn(fields);
      if (error !== undefined && noticed(error)) log.debug(fields, text);
      else tell(fields, text);
    }) as LogFn;
  }

  return {
    log: quiet,
    noticed,
    close() {
      closed = true;
      outage = null;
      clearTimeout(timer);
    },
  };
}

/** What a line says went wrong: an error, or the text of one. */
function causeIn(fields: unknown): unknown {
  if (typeof fields !== 'object' || fields === null) return undefined;
  const { err, reason } = fields as { err?: unknown; reason?: unknown };
  // What is one of ours by now came from a host or a receiver.
  return err instanceof SluiceError ? undefined : (err ?? reason);
}
