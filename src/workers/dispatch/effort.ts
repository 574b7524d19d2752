/**
 * How many starts this process works on at once, those aside that wait for a host that takes its time. More of them
 * would not be done sooner, they would all wait for this process' one core, long enough to renew their leases and to
 * read everything anew. What has begun is never held up: only beginning waits its turn, first come, first served.
 */
const MOST = 256;
/** What an agent's reply may take and still count: a dead host must not keep others from being begun. */
const PROMPT_MS = 500;

export interface Effort {
  /** Waits until there is room for one more. */
  begin(): Promise<void>;
  /** Counts one more, which came with one that was waited for. */
  add(): void;
  end(): void;
  /** Whether who begins now need not wait. */
  hasRoom(): boolean;
  /** Whether somebody waits to begin. */
  isCrowded(): boolean;
  /** Waits for a host: gives its room to another one after a while. */
  aside<T>(work: () => Promise<T>): Promise<T>;
}

export function createEffort(most = MOST): Effort {
  const waiting: (() => void)[] = [];
  let count = 0;

  function end(): void {
    count--;
    while (count < most && waiting.length > 0) {
      count++;
      waiting.shift()?.();
    }
  }

  const hasRoom = () => count < most && waiting.length === 0;

  return {
    async begin() {
      if (hasRoom()) count++;
      else await new Promise<void>((resolve) => waiting.push(resolve));
    },
    add() {
      count++;
    },
    end,
    hasRoom,
    isCrowded: () => waiting.length > 0,
    async aside(work) {
      let isAside = false;
      const timer = setTimeout(() => {
        isAside = true;
        end();
      }, PROMPT_MS);
      try {
        return await work();
      } finally {
        clearTimeout(timer);
        if (isAside) count++;
      }
    },
  };
}
