/**
 * What workers, people and hosts do to a batch, each as one command on the model and on a real Redis. Jobs go through
 * every legal move, in any order, whether or not a worker would make it now.
 */
import fc from 'fast-check';
import { expect } from 'vitest';
import { nextAttempt } from '../../src/job/attempts.ts';
import type { Batch } from '../../src/job/batch.ts';
import { outcome } from '../../src/job/outcome.ts';
import type { Job } from '../../src/job/record.ts';
import { isOver, MOVES, type State } from '../../src/job/states.ts';
import { batchJobId } from '../../src/store/batches/job-id.ts';
import type { BatchStore, Order } from '../../src/store/batches.ts';
import type { JobStore } from '../../src/store/jobs.ts';
import type { Keys } from '../../src/store/keys.ts';
import type { Redis } from '../../src/store/redis.ts';
import { createJobOfTarget } from '../../src/workers/batches/job-of-target.ts';
import {
  type BatchModel,
  failuresOf,
  freeOf,
  OVER,
  placesOf,
  roomOf,
  settle,
  unreachableOf,
} from './batch-model.ts';

/** What has come about, so that a property which never gets anywhere is seen. */
export const seen = {
  made: 0,
  notMade: 0,
  started: 0,
  gated: 0,
  moved: 0,
  letGo: 0,
  crossed: 0,
  waves: 0,
  over: 0,
};

export interface RealBatch {
  redis: Redis;
  keys: Keys;
  jobs: JobStore;
  batches: BatchStore;
  batch: Batch;
  compare(model: BatchModel): Promise<void>;
}

export type BatchCommand = fc.AsyncCommand<BatchModel, RealBatch>;

const hostOf = (index: number) => `h${index}`;

export const targetsOf = (total: number) =>
  Array.from({ length: total }, (_, i) => ({ host: hostOf(i), target_server: hostOf(i) }));

function command(name: string, run: (model: BatchModel, real: RealBatch) => Promise<void>): BatchCommand {
  return {
    check: () => true,
    async run(model, real) {
      const before = { stopped: model.stopped, wave: model.wave, state: model.state };
      await run(model, real);
      if (model.stopped && !before.stopped) seen.crossed++;
      if (model.wave > before.wave) seen.waves++;
      if (OVER.includes(model.state) && !OVER.includes(before.state)) seen.over++;
      await real.compare(model);
    },
    toString: () => name,
  };
}

export const make = () =>
  command('make', async (model, { batches, batch }) => {
    const index = model.made;
    if (index === batch.total) return;
    const target = { host: hostOf(index), target_server: hostOf(index) };
    const ofTarget = createJobOfTarget(NOTHING_SEALED);
    const made = await batches.make(ofTarget(batch, target, index, Date.now()));
    settle(model);
    expect(made !== null, 'is made').toBe(roomOf(model) > 0);
    seen[made ? 'made' : 'notMade']++;
    if (!made) return;
    model.made++;
    model.targets[index]!.standing = 'queued';
    settle(model);
  });

const NOTHING_SEALED = { seal: () => '', open: () => '' };

/** Somebody moves a job, to any state that can be next; `anew`: with a further attempt where it goes back into the queue. */
export const move = (n: number, choice: number, anew: boolean) =>
  command(`move(${n}, ${choice}, ${anew})`, async (model, real) => {
    if (model.made === 0) return;
    const index = n % model.made;
    const { standing } = model.targets[index]!;
    const nexts: readonly State[] =
      standing === 'withdrawn' || standing === 'unstarted' ? [] : MOVES[standing];
    const to = nexts[choice % Math.max(1, nexts.length)];
    if (to) await moveTo(model, real, index, to, anew);
  });

async function moveTo(
  model: BatchModel,
  { jobs, batch }: RealBatch,
  index: number,
  to: State,
  anew: boolean,
): Promise<void> {
  const target = model.targets[index]!;
  const job = (await jobs.get(batchJobId(batch.id, hostOf(index))))!;
  const endsEarly = model.state === 'stopping' || model.state === 'canceling';
  const withdrawn = to === 'canceled' && job.state === 'queued' && target.ended === 0 && endsEarly;
  const isFirst = target.ended === 0;
  const starts = job.state === 'queued' && to === 'dispatching';
  if (starts) settle(model);
  const goesOn = model.state === 'stopping' && !isFirst;
  const mayStart = !starts || goesOn || (model.state === 'running' && placesOf(model) > 0);
  const moved = await jobs.transition(job, job.state, to as never, changeOf(job, to, { anew, withdrawn }));
  expect(moved !== false, `${job.state} may become ${to}`).toBe(mayStart);
  if (!moved) {
    seen.gated++;
    model.held.add(index);
    return;
  }
  seen[starts ? 'started' : 'moved']++;
  if (job.state !== to) count(model, index, job.state, to, { anew, withdrawn });
}

function changeOf(job: Job, to: State, { anew, withdrawn }: { anew: boolean; withdrawn: boolean }) {
  const why = 'by the model';
  if (to === 'queued' && anew) {
    const ended = { state: 'failed' as const, change: { outcome: outcome('exit', { return_code: 3 }) } };
    return nextAttempt(job, ended, { eligible_at: 0, why });
  }
  return {
    why,
    ...(to === 'dispatching' && { attempt: Math.max(1, job.attempt) }),
    ...(isOver(to) && { outcome: outcome('exit') }),
    ...(withdrawn && { withdrawn: true as const }),
  };
}

function count(
  model: BatchModel,
  index: number,
  from: State,
  to: State,
  { anew, withdrawn }: { anew: boolean; withdrawn: boolean },
): void {
  const target = model.targets[index]!;
  target.standing = withdrawn ? 'withdrawn' : to;
  if (to === 'queued' && anew) target.ended++;
  if (from === 'queued') model.held.delete(index);
  // A start that nobody could settle in time is the host's silence, whether or not it is back by now.
  if (to === 'expired' && (from === 'dispatching' || model.down.has(index))) model.expiredAway++;
  settle(model);
}

/** Somebody starts a job that waits, whether or not its batch allows it. */
export const start = (n: number) =>
  command(`start(${n})`, async (model, real) => {
    const queued = [...model.targets.keys()].filter((i) => model.targets[i]?.standing === 'queued');
    const index = queued[n % Math.max(1, queued.length)];
    if (index !== undefined) await moveTo(model, real, index, 'dispatching', false);
  });

export const host = (n: number, isDown: boolean) =>
  command(`host(${n}, ${isDown ? 'down' : 'up'})`, async (model, { redis, keys, batch }) => {
    const index = n % batch.total;
    const key = keys.hostsIn(index % 2 === 0 ? 'down' : 'misconfigured');
    if (isDown) await redis.zadd(key, 1, hostOf(index));
    else await redis.zrem(key, hostOf(index));
    model.down[isDown ? 'add' : 'delete'](index);
  });

export const look = () =>
  command('look', async (model, { batches, batch }) => {
    settle(model);
    const found = (await batches.look(batch.id))!;
    const held = [...model.held].sort((a, b) => a - b);
    expect({
      room: found.room > 0,
      free: found.free,
      held: found.held.toSorted((a, b) => a - b),
    }).toEqual({
      ...{ room: roomOf(model) > 0, free: freeOf(model), held },
    });
    // Nobody is left without somebody who goes on: what can be done now is due now.
    const hasWork = found.room > 0 || (model.state === 'running' && freeOf(model) > 0);
    if (hasWork) expect(found.lookInMs).toBe(0);
  });

export const letGo = (n: number) =>
  command(`letGo(${n})`, async (model, { jobs, batches, batch }) => {
    const held = [...model.held];
    const index = held[n % Math.max(1, held.length)] ?? (model.made > 0 ? n % model.made : null);
    if (index === null) return;
    const job = (await jobs.get(batchJobId(batch.id, hostOf(index))))!;
    await batches.letGo(job);
    if (model.held.delete(index)) seen.letGo++;
  });

export const order = (asked: Order) =>
  command(asked.kind, async (model, { batches, batch }) => {
    const { state, awaitsWave } = model;
    const expected = answer();
    if (expected === 'done') carryOut();
    expect(await batches.order(batch.id, asked)).toBe(expected);

    function answer(): string {
      if (asked.kind === 'pause')
        return state === 'paused' ? (awaitsWave ? 'done' : 'already') : ifOneOf('running');
      if (asked.kind === 'resume') return state === 'running' ? 'already' : ifOneOf('paused');
      return state === 'canceling' ? 'already' : ifOneOf('running', 'paused', 'stopping');
    }
    function ifOneOf(...states: string[]): string {
      return states.includes(state) ? 'done' : 'refused';
    }
    function carryOut(): void {
      model.awaitsWave = false;
      if (asked.kind === 'resume' && model.stopped)
        model.base = { failures: failuresOf(model), unreachable: unreachableOf(model) };
      if (asked.kind !== 'pause') model.stopped = null;
      model.state = ({ pause: 'paused', resume: 'running', cancel: 'canceling', begin: 'running' } as const)[
        asked.kind
      ];
      settle(model);
    }
  });

const n = fc.nat(30);
const CANCEL: Order = { kind: 'cancel', by: 'test', reason: null };

export const BATCH_COMMANDS: fc.Arbitrary<BatchCommand>[] = [
  ...often(6, fc.constant(null).map(make)),
  ...often(
    16,
    fc.tuple(n, fc.nat(8), fc.boolean()).map(([which, to, anew]) => move(which, to, anew)),
  ),
  // Starts, and what starts come to, more often than what ends jobs early.
  ...often(8, n.map(start)),
  ...often(
    10,
    n.map((which) => move(which, 0, false)),
  ),
  ...often(
    2,
    fc.tuple(n, fc.boolean()).map(([which, isDown]) => host(which, isDown)),
  ),
  ...often(2, fc.constant(null).map(look)),
  ...often(3, n.map(letGo)),
  ...often(3, fc.constantFrom<Order>({ kind: 'pause' }, { kind: 'resume' }, { kind: 'resume' }).map(order)),
  fc.nat(6).map((x) => (x === 0 ? order(CANCEL) : look())),
];

function often<Item>(times: number, item: Item): Item[] {
  return Array.from({ length: times }, () => item);
}
