/**
 * A batch in a few lines: where each of its targets stands, and what follows from that for its state, its wave and what
 * may be started. `batch-model.commands.ts` does the same things to it and to a real one.
 */
import type { Batch, BatchState } from '../../src/job/batch.ts';
import type { Standing } from '../../src/store/batches.ts';

export interface ModelTarget {
  standing: Standing;
  /** Attempts of its job that ended: what was started once is under way. */
  ended: number;
}

export type Asked = Pick<
  Batch,
  'total' | 'max_parallel' | 'waves' | 'wave_pause_seconds' | 'max_failures' | 'max_unreachable' | 'on_limit'
>;

export interface BatchModel {
  asked: Asked;
  state: BatchState;
  made: number;
  wave: number;
  waveEnd: number;
  waveDone: number;
  awaitsWave: boolean;
  stopped: Batch['stopped_because'];
  /** What was counted when it was resumed. */
  base: { failures: number; unreachable: number };
  targets: ModelTarget[];
  /** Expired because their host was away. */
  expiredAway: number;
  held: Set<number>;
  /** Hosts that do not answer. Each target is one host. */
  down: Set<number>;
}

export function newModel(asked: Asked): BatchModel {
  return {
    asked,
    state: 'running',
    ...{ made: 0, wave: 1, waveDone: 0, awaitsWave: false, stopped: null, expiredAway: 0 },
    waveEnd: Math.min(asked.total, asked.waves?.[0] ?? asked.total),
    base: { failures: 0, unreachable: 0 },
    targets: Array.from({ length: asked.total }, () => ({ standing: 'unstarted', ended: 0 })),
    held: new Set(),
    down: new Set(),
  };
}

export const OVER: readonly BatchState[] = ['succeeded', 'failed', 'stopped', 'canceled'];

/** How many targets stand so; `away`: those of hosts that do not answer. */
function count({ targets, down }: BatchModel, away: boolean | null, ...standings: Standing[]): number {
  return targets.filter(
    ({ standing }, i) => standings.includes(standing) && (away === null || down.has(i) === away),
  ).length;
}

export function failuresOf(model: BatchModel): number {
  return count(model, null, 'failed', 'timed_out', 'lost', 'expired') - model.expiredAway;
}

/** Not answering is not failing: on a host that is away, or expired for it, or silent while it ran. */
export function unreachableOf(model: BatchModel): number {
  return count(model, null, 'unreachable') + count(model, true, 'queued', 'dispatching') + model.expiredAway;
}

/** Under way as far as `max_parallel` goes: not where the host is away before anything is known to run. */
function onHosts(model: BatchModel): number {
  return count(model, null, 'running', 'unreachable', 'canceling') + count(model, false, 'dispatching');
}

export const placesOf = (model: BatchModel): number => model.asked.max_parallel - onHosts(model);

/** How many of the held ones there is room for: besides those that are on their way. */
export function freeOf(model: BatchModel): number {
  const onTheirWay = Math.max(0, count(model, false, 'queued') - model.held.size);
  return Math.min(model.held.size, Math.max(0, placesOf(model) - onTheirWay));
}

export function roomOf(model: BatchModel): number {
  if (model.state !== 'running') return 0;
  const free = model.asked.max_parallel - onHosts(model) - count(model, false, 'queued');
  return Math.max(0, Math.min(model.waveEnd - model.made, free));
}

/** Draws the conclusions, as every script does that touches a batch. */
export function settle(model: BatchModel): void {
  const { asked, base } = model;
  base.failures = Math.min(base.failures, failuresOf(model));
  base.unreachable = Math.min(base.unreachable, unreachableOf(model));
  if (model.state === 'running' || (model.state === 'paused' && asked.on_limit !== 'pause')) {
    const crosses = (n: number, limit: number | null) => limit !== null && n > limit;
    if (crosses(failuresOf(model) - model.base.failures, asked.max_failures)) model.stopped = 'max_failures';
    else if (crosses(unreachableOf(model) - model.base.unreachable, asked.max_unreachable))
      model.stopped = 'max_unreachable';
    if (model.stopped) {
      model.state = ({ stop: 'stopping', pause: 'paused', cancel: 'canceling' } as const)[asked.on_limit];
      model.awaitsWave = false;
    }
  }
  const isWaveOver = count(model, null, 'queued', 'dispatching', 'running', 'canceling') === 0;
  if (model.state === 'running' && model.made < asked.total && model.made >= model.waveEnd && isWaveOver) {
    if (model.waveDone !== model.wave) {
      model.waveDone = model.wave;
      if (asked.wave_pause_seconds === null) {
        model.awaitsWave = true;
        model.state = 'paused';
      }
    }
    if (model.state === 'running') {
      const waves = asked.waves ?? [];
      model.wave++;
      model.waveEnd = Math.min(
        asked.total,
        model.waveEnd + (waves[Math.min(model.wave, waves.length) - 1] ?? 0),
      );
    }
  }
  if (count(model, null, 'queued', 'dispatching', 'running', 'unreachable', 'canceling') > 0) return;
  if (model.state === 'stopping') model.state = 'stopped';
  else if (model.state === 'canceling') model.state = model.stopped ? 'stopped' : 'canceled';
  else if (model.made === asked.total && model.state !== 'stopped' && model.state !== 'canceled')
    model.state = count(model, null, 'succeeded') === asked.total ? 'succeeded' : 'failed';
}
