/** The ids of new jobs and batches: ULIDs that grow within a process. */
import { getRandomValues } from 'node:crypto';
import { monotonicFactory } from 'ulid';

const POOL_BYTES = 4_096;

/** @returns what makes the next id's ULID of a time in ms */
export function createIds(): (time: number) => string {
  return monotonicFactory(createRandom());
}

/** The system's random numbers, many at a time: asked for one by one, those of an id cost more than all else about it. */
function createRandom(): () => number {
  const pool = new Uint8Array(POOL_BYTES);
  let next = POOL_BYTES;
  return () => {
    if (next === POOL_BYTES) {
      getRandomValues(pool);
      next = 0;
    }
    return (pool[next++] as number) / 256;
  };
}
