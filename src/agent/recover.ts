/**
 * Reads the spool at the agent's start: every job that was acknowledged is known again before the first request is
 * answered. What is not over is then looked at by `follow`, which starts, follows, ends or loses it.
 */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import type { JobRecord } from './job-files.ts';
import type { Logger } from './log.ts';
import type { Outcome } from './outcome.ts';
import type { Registry } from './registry.ts';
import type { Spool } from './spool.ts';

export function recoverJobs(deps: {
  spool: Pick<Spool, 'jobIds' | 'jobDir'>;
  registry: Pick<Registry, 'add'>;
  log: Logger;
}): void {
  for (const id of deps.spool.jobIds()) {
    const dir = deps.spool.jobDir(id);
    const record = readJson<JobRecord>(join(dir, 'job.json'));
    if (record?.job_id !== id) {
      deps.log.error({ job_id: id }, 'job.record.damaged');
      continue;
    }
    const outcome = readJson<Outcome>(join(dir, 'result.json'));
    deps.registry.add({
      record,
      state: outcome?.state ?? 'accepted',
      startedAt: outcome?.startedAt ?? null,
      outcome,
    });
  }
}

/** Only this agent writes these files, whole or not at all; null where there is none. */
function readJson<T>(path: string): T | null {
  try {
    return JSON.parse(readFileSync(path, 'utf8')) as T;
  } catch {
    return null;
  }
}
