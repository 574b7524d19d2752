/**
 * Notices that something happened to a job: at once by the file of nudges, to which supervisors add the job's id, and at
 * the latest by a scan of all live jobs each second, because a nudge can be lost (full disk, killed supervisor) and
 * because a host may have no watches left to give. A job that takes long to look at holds up no other. The same scan
 * keeps the output of what runs within its bounds.
 */
import { closeSync, type FSWatcher, fstatSync, ftruncateSync, openSync, readSync, watch } from 'node:fs';
import type { Follow } from './follow.ts';
import type { Logger } from './log.ts';
import type { Outputs } from './outputs.ts';
import type { Job, Registry } from './registry.ts';

const SCAN_MS = 1000;

/** Nudges that were read are cut off when they are so many bytes. What is added meanwhile is left to the scan. */
const MOST_BYTES = 64 * 1024;

export function watchJobs(deps: {
  /** The file of nudges. */
  nudges: string;
  registry: Pick<Registry, 'get' | 'live'>;
  follow: Follow;
  outputs: Pick<Outputs, 'look'>;
  log: Logger;
}) {
  const { registry, outputs } = deps;
  const nudges = openNudges(deps.nudges);

  /** A disk that fails or is read-only leaves it to the scan. */
  function nudged(): void {
    try {
      const told = nudges.read().flatMap((id) => registry.get(id) ?? []);
      for (const job of told) void deps.follow(job);
    } catch (error) {
      deps.log.error({ err: error }, 'agent.nudges.unreadable');
    }
  }

  const underway = new Set<Job>();
  function scan(): void {
    // Also for the file's own sake, which is cut when it is read.
    nudged();
    for (const job of registry.live().filter((job) => !underway.has(job))) {
      underway.add(job);
      void Promise.all([outputs.look(job), deps.follow(job)]).finally(() => underway.delete(job));
    }
  }

  const watcher = watchIfPossible(deps.nudges, nudged, deps.log);
  const timer = setInterval(scan, SCAN_MS);

  return {
    close(): void {
      watcher?.close();
      clearInterval(timer);
      nudges.close();
    },
  };
}

/** One file for all of them: a file for each would cost the host an inode twice a job, and the search for a free one. */
function openNudges(file: string) {
  const fd = openSync(file, 'a+', 0o600);
  // What was added before, the first look at all jobs has found, or the first scan will.
  let offset = fstatSync(fd).size;
  let torn = '';

  return {
    /** The ids that were added since. */
    read(): string[] {
      const { size } = fstatSync(fd);
      // Cut by somebody else.
      if (size < offset) offset = 0;
      const fresh = Buffer.alloc(size - offset);
      offset += readSync(fd, fresh, 0, fresh.length, offset);
      const lines = `${torn}${fresh}`.split('\n');
      torn = lines.pop() ?? '';
      if (offset > MOST_BYTES && fresh.length > 0) {
        ftruncateSync(fd);
        offset = 0;
      }
      return lines;
    },
    close: () => closeSync(fd),
  };
}

/** Hosts run out of inotify instances and watches; without one the scan alone notices. */
function watchIfPossible(file: string, onChange: () => void, log: Logger): FSWatcher | null {
  try {
    return watch(file, onChange).on('error', (error) => log.error({ err: error }, 'agent.watch.failed'));
  } catch (error) {
    log.warn({ err: error }, 'agent.watch.unavailable');
    return null;
  }
}
