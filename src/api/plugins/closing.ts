/**
 * Closing: held requests are answered at once, those under way are finished, and then no connection is waited
 * for. Node waits for connections that callers keep open for later, and for those that never sent a request.
 */
import type { ServerResponse } from 'node:http';
import type { Api } from '../instance.ts';

/** How long requests under way may take: longer than one to an agent. */
const PATIENCE_MS = 20_000;
/** Time for the server to stop listening. */
const SETTLE_MS = 20;

/** @returns aborted when the server begins to close */
export function closePromptly(app: Api): AbortSignal {
  const closing = new AbortController();
  const underWay = new Set<ServerResponse>();
  let giveUp: NodeJS.Timeout | undefined;

  const dropIfDone = () => {
    if (closing.signal.aborted && underWay.size === 0) app.server.closeAllConnections();
  };

  app.addHook('onRequest', async (_request, { raw }) => {
    underWay.add(raw);
    raw.once('close', () => {
      underWay.delete(raw);
      dropIfDone();
    });
  });
  app.addHook('preClose', async () => {
    closing.abort();
    giveUp = setTimeout(() => app.server.closeAllConnections(), PATIENCE_MS);
    setTimeout(dropIfDone, SETTLE_MS);
  });
  app.addHook('onClose', async () => clearTimeout(giveUp));
  app.addHook('onSend', async (_request, reply) => {
    if (closing.signal.aborted) reply.header('connection', 'close');
  });
  return closing.signal;
}
