/** Tells a drain that waits for its starts that another job for its host was accepted. */
import type { Feed } from '../../store/feed.ts';

export type OnAccepted = (host: string, listener: () => void) => () => void;

export function createAcceptance(feed: Pick<Feed, 'onChange'>) {
  const listeners = new Map<string, Set<() => void>>();
  const close = feed.onChange(({ host, state }) => {
    if (state !== 'queued') return;
    for (const listener of listeners.get(host) ?? []) listener();
  });

  /** Calls the listener whenever a job for the host comes into the mailbox; returns how to stop that. */
  const onAccepted: OnAccepted = (host, listener) => {
    const ofHost = listeners.get(host) ?? new Set();
    listeners.set(host, ofHost.add(listener));
    return () => {
      ofHost.delete(listener);
      if (ofHost.size === 0 && listeners.get(host) === ofHost) listeners.delete(host);
    };
  };
  return { onAccepted, close };
}
