/** Turns moments into cases, one for each cell of the table of starts: what is played must be what the document says. */
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { Workers } from '../../src/workers/main.ts';
import { startRedis, type TestRedis } from './redis.ts';
import { type FleetAgent, startFleet } from './starts.fleet.ts';
import { type Moments, play } from './starts.scene.ts';
import { COLUMNS, type Column, readStartsTable } from './starts.table.ts';
import { openStores, type Stores } from './stores.ts';
import { startTestWorkers } from './workers.ts';

/** How long one row may take, all of its columns at once. */
const ROW_MS = 120_000;

/** Cases of moments in which the workers themselves stay well: one gateway plays them all. */
export function describeStarts(moments: Moments): void {
  let redis: TestRedis;
  let stores: Stores;
  let workers: Workers;
  let fleet: Map<Column, FleetAgent>;

  beforeAll(async () => {
    redis = await startRedis();
    stores = await openStores(redis.url);
    fleet = await startFleet();
    workers = await startTestWorkers(redis.url, stores);
  });
  afterAll(async () => {
    await workers?.close();
    for (const agent of fleet?.values() ?? []) await agent.close();
    await stores?.close();
    await redis?.stop();
  });

  describeRows(Object.keys(moments), (moment, column) =>
    play(moments[moment]!, {
      ...{ stores, agent: fleet.get(column)!, known: true },
      host: `${Object.keys(moments).indexOf(moment)}-${COLUMNS.indexOf(column)}`,
    }),
  );
}

/** A case for each cell of these rows; all cells of a row are played at once. */
export function describeRows(
  moments: string[],
  playCell: (moment: string, column: Column) => Promise<string>,
): void {
  const table = readStartsTable();
  describe.each(moments)('when %s', (moment) => {
    let played: Map<Column, PromiseSettledResult<string>>;
    beforeAll(async () => {
      const all = await Promise.allSettled(COLUMNS.map((column) => playCell(moment, column)));
      played = new Map(COLUMNS.map((column, i) => [column, all[i]!]));
    }, ROW_MS);

    it.each(COLUMNS)('a job on an agent of %s ends as the document says, started as often', (column) => {
      const result = played.get(column)!;
      if (result.status === 'rejected') throw result.reason;
      expect(result.value).toBe(table.get(moment.replaceAll('`', ''))?.[column]);
    });
  });
}
