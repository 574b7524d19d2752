/**
 * A TCP proxy before a test's Redis that can freeze connections: they stay open and nothing comes through any more, as
 * behind a firewall that forgot them. Nobody is told, which is what makes it hard to notice.
 */
import { once } from 'node:events';
import { type AddressInfo, connect, createServer, type Socket } from 'node:net';

export interface FreezingProxy {
  /** `redis://127.0.0.1:<port>` */
  url: string;
  /** Freezes the connections that `which` chooses by what they said first (their names are in it). */
  freeze(which: (said: string) => boolean, options?: { newOnesToo: boolean }): void;
  /** Lets everything through again; what was swallowed meanwhile is gone. */
  thaw(): void;
  /** How many bytes did not come through so far. */
  swallowed(): number;
  stop(): Promise<void>;
}

interface Line {
  caller: Socket;
  server: Socket;
  said: string;
  frozen: boolean;
}

/** Enough for the commands with which a connection introduces itself. */
const SAID_CHARS = 2_000;

export async function startFreezingProxy(target: string): Promise<FreezingProxy> {
  const { hostname, port } = new URL(target);
  const lines = new Set<Line>();
  let swallowed = 0;
  let freezesNew: ((said: string) => boolean) | null = null;

  const proxy = createServer((caller) => {
    const server = connect(Number(port), hostname);
    const line: Line = { caller, server, said: '', frozen: false };
    lines.add(line);
    caller.on('data', (chunk) => {
      if (line.said.length < SAID_CHARS) line.said += chunk.toString('latin1');
      if (freezesNew?.(line.said)) line.frozen = true;
      if (line.frozen) swallowed += chunk.length;
      else server.write(chunk);
    });
    server.on('data', (chunk) => {
      if (!line.frozen) caller.write(chunk);
    });
    for (const [one, other] of [
      [caller, server],
      [server, caller],
    ] as const) {
      one.on('error', () => undefined);
      one.on('close', () => {
        lines.delete(line);
        other.destroy();
      });
    }
  });
  proxy.listen(0, '127.0.0.1');
  await once(proxy, 'listening');

  return {
    url: `redis://127.0.0.1:${(proxy.address() as AddressInfo).port}`,
    freeze(which, { newOnesToo } = { newOnesToo: false }) {
      for (const line of lines) if (which(line.said)) line.frozen = true;
      freezesNew = newOnesToo ? which : null;
    },
    thaw() {
      freezesNew = null;
      // A stream with a hole in it is of no use: whoever speaks on it must begin anew.
      for (const line of lines) if (line.frozen) line.caller.destroy();
    },
    swallowed: () => swallowed,
    async stop() {
      for (const { caller } of lines) caller.destroy();
      proxy.close();
      await once(proxy, 'close');
    },
  };
}
