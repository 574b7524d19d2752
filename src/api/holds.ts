/**
 * How many requests may be held open (long polls, streams): a cap for each key and one for all, so that
 * no caller can use up the gateway's connections.
 */
import { SluiceError } from '../job/errors.ts';

export interface Holds {
  /** @returns how to give it back; null if there is no room */
  takeIfFree(owner: string): (() => void) | null;
  /** @throws SluiceError overloaded */
  take(owner: string): () => void;
  /** How many are held now. */
  count(): number;
}

export function createHolds(limits: { perKey: number; total: number }): Holds {
  const held = new Map<string, number>();
  let total = 0;

  function takeIfFree(owner: string): (() => void) | null {
    const own = held.get(owner) ?? 0;
    if (own >= limits.perKey || total >= limits.total) return null;
    held.set(owner, own + 1);
    total++;
    let given = false;
    return () => {
      if (given) return;
      given = true;
      total--;
      const rest = (held.get(owner) ?? 1) - 1;
      if (rest === 0) held.delete(owner);
      else held.set(owner, rest);
    };
  }

  return {
    takeIfFree,
    take(owner) {
      const release = takeIfFree(owner);
      if (release) return release;
      // Spread, so that those who were turned away do not come back together.
      const retry_after = 1 + Math.floor(Math.random() * 5);
      const detail = `too many held requests; ${limits.perKey} for each key are allowed`;
      throw new SluiceError('overloaded', detail, { fields: { retry_after } });
    },
    count: () => total,
  };
}
