/**
 * The end of a program in the foreground: SIGTERM or SIGINT asks for it once, and a second one no longer waits.
 * Listened for before anything is started, so that nothing that was started is ever left without its stop.
 */

export interface Stopping {
  /** Aborted with the first signal, or when `now` is called. */
  signal: AbortSignal;
  requested: Promise<void>;
  /** Ends the program because of a failure: the exit code is then 1. */
  now(error: Error): void;
  /** Later signals have their usual effect again. */
  done(): void;
}

export function listenForStop(): Stopping {
  const controller = new AbortController();
  const requested = new Promise<void>((resolve) => {
    controller.signal.addEventListener('abort', () => resolve(), { once: true });
  });
  const onSignal = () => {
    if (controller.signal.aborted) process.exit(1);
    controller.abort();
  };
  process.on('SIGTERM', onSignal).on('SIGINT', onSignal);
  return {
    signal: controller.signal,
    requested,
    now(error) {
      console.error(`sluice: ${error.message}`);
      process.exitCode = 1;
      controller.abort();
    },
    done() {
      process.off('SIGTERM', onSignal).off('SIGINT', onSignal);
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
