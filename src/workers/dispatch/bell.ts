/** A wait that any of several things can end. A ring that comes while nobody waits ends the next wait at once. */
export interface Bell {
  ring(): void;
  /** Resolves at the next ring, or after `withinMs`; null: at a ring only. */
  rung(withinMs: number | null): Promise<void>;
}

export function createBell(): Bell {
  let isRung = false;
  let answer: (() => void) | null = null;

  return {
    ring() {
      isRung = true;
      answer?.();
    },
    async rung(withinMs) {
      if (!isRung) {
        let timer: NodeJS.Timeout | undefined;
        await new Promise<void>((resolve) => {
          answer = resolve;
          if (withinMs !== null) timer = setTimeout(resolve, withinMs);
        });
        clearTimeout(timer);
        answer = null;
      }
      isRung = false;
    },
  };
}
