/** What one simulated host counts: its requests, how many at once and in any period, and every execution. */

export type Kind = 'ping' | 'run' | 'status' | 'cancel' | 'logs';

/** What one host has seen. Times are ms since 1970 by this machine's clock, with fractions. */
export interface HostCounters {
  /** Accepted, whatever became of them. */
  connections: number;
  /** All of them, held ones too, and those that a silent host never answered. */
  requests: Record<Kind, number>;
  /** Simultaneous requests; held status requests apart, because they take no slot of `max_requests`. */
  mostAtOnce: number;
  /** What they were, and when. */
  atMost: { at: number; kinds: Kind[] };
  mostHeldAtOnce: number;
  /** The most requests that began within any `periodMs`. */
  mostInPeriod: number;
  /** Jobs under way now, and the most at once, as the host itself sees it. */
  running: number;
  mostRunning: number;
  /** Tokens executed, and starts of tokens that had been executed before. */
  starts: number;
  repeated: number;
  firstStartAt: number | null;
  lastStartAt: number | null;
}

export interface Start {
  /** The launch token, `<job id>-<attempt>`. */
  token: string;
  at: number;
}

export function createCounters(periodMs: number) {
  const starts: Start[] = [];
  let arrivals = createWindow(periodMs);
  let seen = nothing();
  const underWay = new Map<symbol, Kind>();
  let heldAtOnce = 0;

  return {
    connected: () => void seen.connections++,
    /** A request came. @returns to be called before it is answered, and when its client is gone: once counts */
    begin(kind: Kind, held: boolean): () => void {
      seen.requests[kind]++;
      const at = now();
      seen.mostInPeriod = Math.max(seen.mostInPeriod, arrivals.add(at));
      const request = Symbol();
      if (held) seen.mostHeldAtOnce = Math.max(seen.mostHeldAtOnce, ++heldAtOnce);
      else underWay.set(request, kind);
      if (underWay.size > seen.mostAtOnce) {
        seen.mostAtOnce = underWay.size;
        seen.atMost = { at, kinds: [...underWay.values()] };
      }
      let over = false;
      return () => {
        if (over) return;
        over = true;
        if (held) heldAtOnce--;
        else underWay.delete(request);
      };
    },
    executed(token: string): number {
      const at = now();
      starts.push({ token, at });
      seen.starts++;
      seen.firstStartAt ??= at;
      seen.lastStartAt = at;
      seen.mostRunning = Math.max(seen.mostRunning, ++seen.running);
      return at;
    },
    repeated: () => void seen.repeated++,
    ended: () => void seen.running--,

    seen: (): HostCounters => ({ ...seen, requests: { ...seen.requests } }),
    starts: (): Start[] => starts,
    /** Counts from zero again. */
    reset(): void {
      seen = { ...nothing(), running: seen.running };
      arrivals = createWindow(periodMs);
      starts.length = 0;
    },
  };
}

function nothing(): HostCounters {
  return {
    connections: 0,
    requests: { ping: 0, run: 0, status: 0, cancel: 0, logs: 0 },
    mostAtOnce: 0,
    atMost: { at: 0, kinds: [] },
    mostHeldAtOnce: 0,
    mostInPeriod: 0,
    running: 0,
    mostRunning: 0,
    starts: 0,
    repeated: 0,
    firstStartAt: null,
    lastStartAt: null,
  };
}

/** How many times lie within the last `periodMs`. */
function createWindow(periodMs: number) {
  let times: number[] = [];
  let from = 0;
  return {
    add(at: number): number {
      times.push(at);
      while ((times[from] as number) <= at - periodMs) from++;
      if (from > 1_000) {
        times = times.slice(from);
        from = 0;
      }
      return times.length - from;
    },
  };
}

/** Of one clock with the other processes, finer than a ms. */
export const now = () => performance.timeOrigin + performance.now();
