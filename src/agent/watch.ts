/**
 * Notices that something happened to a job: at once by the directory `done/`, where supervisors leave a file, and at
 * the latest by a scan of all live jobs each second, because a nudge can be lost (full disk, killed supervisor).
 */
import { readdirSync, rmSync, watch } from 'node:fs';
import { join } from 'node:path';
import type { Follow } from './follow.ts';
import type { Registry } from './registry.ts';

const SCAN_MS = 1000;

export function watchJobs(deps: {
  doneDir: string;
  registry: Pick<Registry, 'get' | 'live'>;
  follow: Follow;
}) {
  function nudged(name: string): void {
    const job = deps.registry.get(name.replace(/\.go$/, ''));
    rmSync(join(deps.doneDir, name), { force: true });
    if (job) void deps.follow(job);
  }

  let scanning: Promise<unknown> = Promise.resolve();
  const watcher = watch(deps.doneDir, (_event, name) => name !== null && nudged(name));
  for (const name of readdirSync(deps.doneDir)) nudged(name);
  const timer = setInterval(() => {
    scanning = scanning.then(() => Promise.all(deps.registry.live().map(deps.follow)));
  }, SCAN_MS);

  return {
    close(): void {
      watcher.close();
      clearInterval(timer);
    },
  };
}
