/**
 * The crash points of the agent, put around what it calls: see `job/crash-points.ts`. Without one that is asked for
 * (`--dangerously-crash-at`) every part is left as it is.
 */
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { type CrashAt, createReach, lookAfter } from '../job/crash-points.ts';
import type { createCancel } from './cancel.ts';
import type { Follow } from './follow.ts';
import { isOver, type Registry } from './registry.ts';
import type { Spool } from './spool.ts';
import type { Supervisor } from './supervisor.ts';

type Cancel = ReturnType<typeof createCancel>;

export interface CrashPoints {
  spool(spool: Spool): Spool;
  registry(registry: Registry): Registry;
  supervisor(supervisor: Supervisor): Supervisor;
  follow(follow: Follow, jobDir: (id: string) => string): Follow;
  cancel(cancel: Cancel): Cancel;
}

const asItIs = <Part>(part: Part) => part;
const NONE: CrashPoints = {
  spool: asItIs,
  registry: asItIs,
  supervisor: asItIs,
  follow: asItIs,
  cancel: asItIs,
};

/** @param at null: there are none */
export function createCrashPoints(at: CrashAt | null, die: () => void): CrashPoints {
  if (at === null) return NONE;
  const reach = createReach(at, die);
  return {
    spool: (spool) => ({
      ...spool,
      publish: lookAfter(spool.publish, (published) => published && reach('agent.stored')),
    }),
    registry: (registry) => ({
      ...registry,
      over(job, outcome) {
        reach('agent.recorded');
        registry.over(job, outcome);
      },
    }),
    supervisor: (supervisor) => ({
      ...supervisor,
      start(...args) {
        const started = supervisor.start(...args);
        reach('agent.spawned');
        return started;
      },
    }),
    follow: (follow, jobDir) => (job) => {
      if (!isOver(job) && existsSync(join(jobDir(job.record.job_id), 'exit'))) reach('agent.ended');
      return follow(job);
    },
    cancel: (cancel) => lookAfter(cancel, () => reach('agent.canceled')),
  };
}
