/** What a command on the store and its model is: it does the same to both, and afterwards they are compared. */
import type fc from 'fast-check';
import type { Job } from '../../src/job/record.ts';
import type { Cancel } from '../../src/store/jobs/cancel.ts';
import type { JobStore } from '../../src/store/jobs.ts';
import type { Keys } from '../../src/store/keys.ts';
import type { Mailbox } from '../../src/store/mailbox.ts';
import type { Redis } from '../../src/store/redis.ts';
import type { Model } from './store-model.ts';

/** What has come about, so that a property which never gets anywhere is seen. */
export const seen = {
  claimed: 0,
  begun: 0,
  reclaimed: 0,
  moved: 0,
  refused: 0,
  canceled: 0,
  removed: 0,
  rescued: 0,
};

export interface Real {
  redis: Redis;
  keys: Keys;
  jobs: JobStore;
  mailbox: Mailbox;
  cancel: Cancel;
  /** What each worker read last. */
  views: (Job | null)[];
  /** Compares both after every command. */
  compare(model: Model): Promise<void>;
}

export type Command = fc.AsyncCommand<Model, Real>;

/** @param run does it to both; @param possible whether somebody could do it now */
export function command(
  name: string,
  run: (model: Model, real: Real) => Promise<void>,
  possible: (model: Readonly<Model>) => boolean = () => true,
): Command {
  return {
    check: possible,
    async run(model, real) {
      await run(model, real);
      await real.compare(model);
    },
    toString: () => name,
  };
}

/** Items are chosen by numbers, so that what is chosen can be shrunk. */
export const nth = <Item>(items: Iterable<Item>, n: number): Item | undefined => {
  const all = [...items];
  return all[n % Math.max(1, all.length)];
};
