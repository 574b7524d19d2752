/** Tells a drain that waits for its starts that another job for its host was accepted. */
import type { Feed } from '../../store/feed.ts';

export function createAcceptance(feed: Pick<Feed, 'onChange'>) {
  const waiting = new Map<string, Set<() => void>>();
  const close = feed.onChange(({ host, state }) => {
    if (state !== 'queued') return;
    for (const resolve of waiting.get(host) ?? []) resolve();
  });

  return {
    /** Resolves when a job for the host comes into the mailbox, or when `signal` is aborted. */
    accepted(host: string, signal: AbortSignal): Promise<void> {
      const resolvers = waiting.get(host) ?? new Set();
      waiting.set(host, resolvers);
      return new Promise<void>((resolve) => {
        resolvers.add(resolve);
        signal.addEventListener('abort', () => {
          resolvers.delete(resolve);
          if (resolvers.size === 0 && waiting.get(host) === resolvers) waiting.delete(host);
          resolve();
        });
      });
    },
    close,
  };
}
