/**
 * A TCP proxy between two programs that does to their connections what networks do: cuts them, stalls them, lets one
 * way die while the other lives, slows them down, and breaks them after chosen bytes, so that a request arrives and its
 * reply does not. It knows nothing of what passes through. What it spoilt is gone or late, never altered.
 */
import { once } from 'node:events';
import { type AddressInfo, connect, createServer, type Socket } from 'node:net';
import { createFlow, type Flow } from './flow.ts';

export type Way = 'up' | 'down';

export interface FaultyProxy {
  readonly name: string;
  /** `127.0.0.1:<port>`: where callers connect to. */
  readonly address: string;
  /** Connections that are open now. */
  open(): number;
  /** Resets those that are open. */
  cut(): void;
  /** Resets those that are open, and every new one, until `mend`. */
  refuse(): void;
  /** Nothing passes, on open connections and new ones, until `mend`; then what was sent meanwhile arrives. */
  stall(): void;
  /** What goes this way is lost from now on, the other way is as before; `mend` resets what has a hole. */
  lose(way: Way): void;
  slow(bytesPerSecond: number): void;
  /** On every connection: so many more bytes pass this way, then it is reset. Until `mend`. */
  cutAfter(way: Way, bytes: number): void;
  /**
   * Only connections whose first bytes `which` accepts are stalled, both ways, the new ones too, until `mend`; where
   * they have not said enough yet they pass.
   */
  stallThose(which: (said: string) => boolean): void;
  mend(): void;
  stop(): Promise<void>;
}

interface Line {
  up: Flow;
  down: Flow;
  said: string;
  reset(): void;
}

/** Enough of what a connection says first to know who it is. */
const SAID_CHARS = 2_000;

/** @param target `host:port` of the server behind it; may be down */
export async function startProxy(name: string, target: string, port = 0): Promise<FaultyProxy> {
  const [host = '', targetPort = ''] = target.split(':');
  const lines = new Set<Line>();
  let spoil: (line: Line) => void = () => undefined;
  let refusing = false;

  const server = createServer((caller) => {
    if (refusing) {
      caller.on('error', () => undefined).resetAndDestroy();
      return;
    }
    const callee = connect(Number(targetPort), host);
    const line = join(caller, callee);
    lines.add(line);
    // Either end may be left open by a peer that stands still; whoever stops the proxy ends both.
    let open = 2;
    for (const end of [caller, callee]) end.once('close', () => --open === 0 && lines.delete(line));
    spoil(line);
    caller.on('data', (chunk: Buffer) => {
      if (line.said.length >= SAID_CHARS) return;
      line.said += chunk.toString('latin1');
      spoil(line);
    });
  });
  server.listen(port, '127.0.0.1');
  await once(server, 'listening');

  function spoilAll(how: (line: Line) => void): void {
    spoil = how;
    for (const line of lines) how(line);
  }
  function cut(): void {
    for (const line of lines) line.reset();
  }

  return {
    name,
    address: `127.0.0.1:${(server.address() as AddressInfo).port}`,
    open: () => lines.size,
    cut,
    refuse() {
      refusing = true;
      cut();
    },
    stall: () => spoilAll(stallBoth),
    lose: (way) => spoilAll((line) => line[way].lose()),
    slow: (bytesPerSecond) =>
      spoilAll((line) => {
        line.up.slow(bytesPerSecond);
        line.down.slow(bytesPerSecond);
      }),
    cutAfter: (way, bytes) => spoilAll((line) => line[way].endAfter(bytes)),
    stallThose: (which) => spoilAll((line) => which(line.said) && stallBoth(line)),
    mend() {
      refusing = false;
      spoil = () => undefined;
      for (const line of lines) {
        if (line.up.hasHole() || line.down.hasHole()) line.reset();
        line.up.mend();
        line.down.mend();
      }
    },
    async stop() {
      for (const line of lines) line.reset();
      server.close();
      await once(server, 'close');
    },
  };
}

function stallBoth(line: Line): void {
  line.up.stall();
  line.down.stall();
}

function join(caller: Socket, callee: Socket): Line {
  const reset = () => {
    caller.resetAndDestroy();
    callee.resetAndDestroy();
  };
  for (const [one, other] of [
    [caller, callee],
    [callee, caller],
  ] as const) {
    one.setNoDelay(true);
    // Who is refused behind the proxy is reset before it: a proxy that stayed open would be another fault.
    one.on('error', () => other.resetAndDestroy());
    one.on('close', () => other.destroySoon());
  }
  return { up: createFlow(caller, callee, reset), down: createFlow(callee, caller, reset), said: '', reset };
}
