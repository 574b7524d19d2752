/**
 * The end of a program in the foreground: SIGTERM, SIGINT or a closed terminal asks for it once, and a second signal
 * no longer waits.
 * Listened for before anything is started, so that nothing that was started is ever left without its stop.
 */

export interface Stopping {
  /** Aborted with the first signal, or when `now` is called. */
  signal: AbortSignal;
  requested: Promise<void>;
  /** Ends the program because of a failure: the exit code is then 1. */
  now(error: Error): void;
  /** Everything was stopped: later signals have their usual effect again, and what is still open keeps nobody. */
  done(): void;
}

/** How long a program that failed may take to end in order, in ms: what is broken may never let go. */
const FAILED_MS = 20_000;
/** What a process may still need to write its last lines, in ms. */
const LEFT_OPEN_MS = 1_000;
const SIGNALS = ['SIGTERM', 'SIGINT', 'SIGHUP'] as const;

export function listenForStop(): Stopping {
  const controller = new AbortController();
  const requested = new Promise<void>((resolve) => {
    controller.signal.addEventListener('abort', () => resolve(), { once: true });
  });
  const onSignal = () => {
    if (controller.signal.aborted) process.exit(1);
    controller.abort();
  };
  for (const signal of SIGNALS) process.on(signal, onSignal);
  return {
    signal: controller.signal,
    requested,
    now(error) {
      console.error(`sluice: ${error.message}`);
      process.exitCode = 1;
      setTimeout(() => process.exit(1), FAILED_MS).unref();
      controller.abort();
    },
    done() {
      for (const signal of SIGNALS) process.off(signal, onSignal);
      // BullMQ's own connections try for ever to reach a Redis that refuses them.
      setTimeout(() => process.exit(), LEFT_OPEN_MS).unref();
    },
  };
}

/** Runs what was started, in reverse order; one that fails does not keep the others from being stopped. */
export async function closeAll(closers: (() => Promise<void> | void)[]): Promise<void> {
  for (const close of closers.toReversed()) {
    try {
      await close();
    } catch (error) {
      console.error(`sluice: while stopping: ${(error as Error).message}`);
      process.exitCode = 1;
    }
  }
}
