/**
 * Notices that something happened to a job: at once by the directory `done/`, where supervisors leave a file, and at
 * the latest by a scan of all live jobs each second, because a nudge can be lost (full disk, killed supervisor) and
 * because a host may have no watches left to give. A job that takes long to look at holds up no other. The same scan
 * keeps the output of what runs within its bounds.
 */
import { type FSWatcher, readdirSync, rm, watch } from 'node:fs';
import { join } from 'node:path';
import type { Follow } from './follow.ts';
import type { Logger } from './log.ts';
import type { Outputs } from './outputs.ts';
import type { Job, Registry } from './registry.ts';

const SCAN_MS = 1000;

export function watchJobs(deps: {
  doneDir: string;
  registry: Pick<Registry, 'get' | 'live'>;
  follow: Follow;
  outputs: Pick<Outputs, 'look'>;
  log: Logger;
}) {
  const { doneDir, registry, outputs } = deps;

  function nudged(name: string): void {
    const job = registry.get(name.replace(/\.go$/, ''));
    rm(join(doneDir, name), { force: true }, () => undefined);
    if (job) void deps.follow(job);
  }

  const underway = new Set<Job>();
  function scan(): void {
    for (const job of registry.live().filter((job) => !underway.has(job))) {
      underway.add(job);
      void Promise.all([outputs.look(job), deps.follow(job)]).finally(() => underway.delete(job));
    }
  }

  const watcher = watchIfPossible(doneDir, nudged, deps.log);
  for (const name of readdirSync(doneDir)) nudged(name);
  const timer = setInterval(scan, SCAN_MS);

  return {
    close(): void {
      watcher?.close();
      clearInterval(timer);
    },
  };
}

/** Hosts run out of inotify instances and watches; without one the scan alone notices. */
function watchIfPossible(dir: string, nudged: (name: string) => void, log: Logger): FSWatcher | null {
  try {
    const watcher = watch(dir, (_event, name) => name !== null && nudged(name));
    return watcher.on('error', (error) => log.error({ err: error }, 'agent.watch.failed'));
  } catch (error) {
    log.warn({ err: error }, 'agent.watch.unavailable');
    return null;
  }
}
