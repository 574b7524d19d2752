/**
 * Faults that a test tells the Base test agent to have: on one request or on all, once or until it is mended.
 * A fault `after` has let the agent act first, so that only the reply is lost. Used by `base-agent.ts` only.
 */
import type { ServerResponse } from 'node:http';
import { setTimeout as pause } from 'node:timers/promises';

/** `POST /run`, `POST /ping`, `GET /status`, `POST /cancel`, `GET /logs`, or every request. */
export type FaultPath = '/run' | '/ping' | '/status' | '/cancel' | '/logs' | '*';

export type Fault =
  /** Takes the request and never answers; the connection stays open until the agent closes. */
  | { kind: 'hang'; when: 'before' | 'after' }
  /** Breaks the connection without a reply. */
  | { kind: 'reset'; when: 'before' | 'after' }
  /** Acts, and answers, only when this has come to pass. */
  | { kind: 'late'; until: Promise<unknown> }
  /** Answers with this instead of acting; `headers` such as `{ 'retry-after': '2' }`. */
  | { kind: 'reply'; status: number; body?: string; type?: string; headers?: Record<string, string> }
  /** Acts, then answers with JSON whose `stdout` is so long. */
  | { kind: 'oversized'; bytes: number }
  /** Acts, then sends the true reply one byte at a time. */
  | { kind: 'drip'; everyMs: number };

interface ArmedFault {
  path: FaultPath;
  fault: Fault;
  left: number;
}

export function createFaultBox() {
  let armed: ArmedFault[] = [];
  return {
    /** Arms `fault` for the next `times` requests to `path`, after those armed before it. */
    arm(path: FaultPath, fault: Fault, times: number): void {
      armed.push({ path, fault, left: times });
    },
    disarmAll(): void {
      armed = [];
    },
    /** The fault that this request must have, if any; counts as one of its times. */
    take(path: string): Fault | null {
      const found = armed.find((one) => one.path === '*' || one.path === path);
      if (!found) return null;
      found.left -= 1;
      if (found.left <= 0) armed = armed.filter((one) => one !== found);
      return found.fault;
    },
  };
}

/** Sends `body` one byte at a time, until the caller has had enough. */
export async function drip(response: ServerResponse, body: string, everyMs: number): Promise<void> {
  for (const byte of Buffer.from(body)) {
    if (response.destroyed) return;
    response.write(Buffer.from([byte]));
    await pause(everyMs);
  }
  response.end();
}
