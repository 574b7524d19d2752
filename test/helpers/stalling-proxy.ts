/**
 * A TCP proxy before a test's Redis that holds back replies: from a chosen command on its connection hears nothing until
 * it is let go on, then everything. So a process can be met between what Redis has done for it and what it makes of that.
 */
import { once } from 'node:events';
import { type AddressInfo, connect, createServer, type Socket } from 'node:net';

/** @param marker what the command contains from which on replies are held back; once */
export async function startStallingProxy(target: string, marker: string) {
  const { hostname, port } = new URL(target);
  const sockets = new Set<Socket>();
  const stalled = Promise.withResolvers<void>();
  let goOn: (() => void) | null = null;

  const proxy = createServer((caller) => {
    const server = connect(Number(port), hostname);
    let said = '';
    caller.on('data', (chunk) => {
      said = (said + chunk.toString('latin1')).slice(-(chunk.length + marker.length));
      if (goOn === null && said.includes(marker)) {
        server.pause();
        goOn = () => server.resume();
        stalled.resolve();
      }
      server.write(chunk);
    });
    server.on('data', (chunk) => caller.write(chunk));
    for (const [one, other] of [
      [caller, server],
      [server, caller],
    ] as const) {
      sockets.add(one);
      one.on('error', () => undefined);
      one.on('close', () => {
        sockets.delete(one);
        other.destroy();
      });
    }
  });
  proxy.listen(0, '127.0.0.1');
  await once(proxy, 'listening');

  return {
    url: `redis://127.0.0.1:${(proxy.address() as AddressInfo).port}`,
    /** The command has reached Redis; its reply has not come. */
    stalled: stalled.promise,
    goOn: () => goOn?.(),
    async stop(): Promise<void> {
      for (const socket of sockets) socket.destroy();
      proxy.close();
      await once(proxy, 'close');
    },
  };
}
