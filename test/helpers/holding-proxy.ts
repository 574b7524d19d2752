/**
 * A TCP proxy before a test's agent that makes one request arrive late, or lose its reply, or the host unreachable.
 * It looks at TLS records only: 0x17 opens a record of application data, so a request is told from a handshake.
 */
import { once } from 'node:events';
import { type AddressInfo, connect, createServer, type Socket } from 'node:net';

export type HoldingProxy = Awaited<ReturnType<typeof startHoldingProxy>>;

export interface HeldRequest {
  /** The request has left its caller; nothing of it has reached the host. */
  taken: Promise<void>;
  /** Lets it through, even if its caller has gone meanwhile. */
  release(): void;
}

interface Line {
  caller: Socket;
  agent: Socket;
  /** What its caller says goes here instead of to the agent. */
  held: Buffer[] | null;
  /** Broken as soon as the agent says something. */
  losesReply: boolean;
  /** Stays open towards the agent when its caller goes: what was sent arrives all the same. */
  outlivesCaller: boolean;
}

const APPLICATION_DATA = 0x17;

/**
 * On a new connection the first such record ends the handshake, and may come together with the request: its caller takes
 * the connection for ready then, though the agent has not heard of it.
 */
function carriesData(chunk: Buffer): boolean {
  for (let at = 0; at + 5 <= chunk.length; at += 5 + chunk.readUInt16BE(at + 3)) {
    if (chunk[at] === APPLICATION_DATA) return true;
  }
  return false;
}

/** @param target `host:port` */
export async function startHoldingProxy(target: string) {
  const [host = '', targetPort = ''] = target.split(':');
  const lines = new Set<Line>();
  /** What becomes of the next request. */
  let next: ((line: Line) => void) | null = null;

  const server = createServer((caller) => {
    const agent = connect(Number(targetPort), host);
    const line: Line = { caller, agent, held: null, losesReply: false, outlivesCaller: false };
    lines.add(line);
    caller.on('data', (chunk) => {
      if (next && carriesData(chunk)) {
        next(line);
        next = null;
      }
      if (line.held) line.held.push(chunk);
      else agent.write(chunk);
    });
    agent.on('data', (chunk) => {
      if (line.losesReply) caller.destroy();
      else caller.write(chunk);
    });
    for (const socket of [caller, agent]) socket.on('error', () => undefined);
    agent.on('close', () => {
      lines.delete(line);
      caller.destroy();
    });
    caller.on('close', () => line.outlivesCaller || agent.destroy());
  });
  const listen = async (port: number) => {
    server.listen(port, '127.0.0.1');
    await once(server, 'listening');
  };
  await listen(0);
  const { port } = server.address() as AddressInfo;

  const proxy = {
    address: `127.0.0.1:${port}`,
    /** Keeps the next request from its agent until it is released. */
    holdNext(): HeldRequest {
      const { promise: taken, resolve } = Promise.withResolvers<void>();
      let line: Line | null = null;
      next = (found) => {
        line = Object.assign(found, { held: [], outlivesCaller: true });
        resolve();
      };
      return {
        taken,
        release() {
          for (const chunk of line?.held ?? []) line?.agent.write(chunk);
          if (line) line.held = null;
        },
      };
    },
    /** The next request reaches its agent, which acts; its reply does not come back. */
    loseNextReply(): void {
      next = (line) => Object.assign(line, { losesReply: true, outlivesCaller: true });
    },
    /** Breaks all connections and takes no more, as a host that is down. */
    async refuse(): Promise<void> {
      const closed = once(server, 'close');
      server.close();
      for (const { caller } of lines) caller.destroy();
      await closed;
    },
    accept: () => listen(port),
    async stop(): Promise<void> {
      if (server.listening) await proxy.refuse();
      for (const { agent } of lines) agent.destroy();
    },
  };
  return proxy;
}
