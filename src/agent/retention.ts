/**
 * What the agent forgets, and when: a job's output 7 days after its end, its token 30 days after.
 *
 * A token that is forgotten could be started a second time, so the record outlives the directory: one line in
 * `archive/<day of the end>.jsonl`, written before the directory goes. A crash in between leaves both; the directory
 * then counts.
 */
import { closeSync, fsyncSync, openSync, readdirSync, readFileSync, rmSync, writeSync } from 'node:fs';
import { rmdir } from 'node:fs/promises';
import { join } from 'node:path';
import type { JobRecord } from './job-files.ts';
import type { Logger } from './log.ts';
import type { Outcome } from './outcome.ts';
import type { Job, Registry } from './registry.ts';
import type { Spool } from './spool.ts';

const DAY_MS = 24 * 3600 * 1000;
const KEEP_OUTPUT_MS = 7 * DAY_MS;
const KEEP_RECORD_MS = 30 * DAY_MS;

interface ArchiveLine {
  record: JobRecord;
  outcome: Outcome;
}

export interface RetentionDeps {
  spool: Pick<Spool, 'archiveDir' | 'remove'>;
  registry: Pick<Registry, 'all' | 'get' | 'add' | 'forget'>;
  /** Where the jobs' cgroups are, if there are any. */
  cgroup: string | null;
  log: Logger;
}

export function createRetention(deps: RetentionDeps) {
  const { spool, registry } = deps;

  return {
    /** Makes the archived tokens known again; before the directories are read, which count more. */
    load(): void {
      for (const day of readdirSync(spool.archiveDir)) {
        for (const { record, outcome } of linesOf(day)) {
          registry.add({ record, outcome, state: outcome.state, startedAt: outcome.startedAt }, true);
        }
      }
    },

    /** Clears what is due at `now` (milliseconds). */
    async sweep(now: number): Promise<void> {
      for (const job of [...registry.all()]) {
        if (!job.outcome || job.cleared || now - Date.parse(job.outcome.endedAt) < KEEP_OUTPUT_MS) continue;
        archive(job, job.outcome);
        job.cleared = true;
        await spool.remove(job.record.job_id);
        // Left by processes that outlived their job; the kernel keeps it for as long as one of them lives.
        if (deps.cgroup) await rmdir(join(deps.cgroup, `job-${job.record.job_id}`)).catch(() => undefined);
      }
      for (const day of readdirSync(spool.archiveDir)) {
        // A day's last job ended up to 24 hours after its beginning.
        if (now - Date.parse(day.slice(0, 10)) >= KEEP_RECORD_MS + DAY_MS) forgetDay(day);
      }
    },
  };

  function archive(job: Job, outcome: Outcome): void {
    const fd = openSync(join(spool.archiveDir, `${outcome.endedAt.slice(0, 10)}.jsonl`), 'a', 0o600);
    try {
      writeSync(fd, `${JSON.stringify({ record: job.record, outcome } satisfies ArchiveLine)}\n`);
      fsyncSync(fd);
    } finally {
      closeSync(fd);
    }
  }

  function forgetDay(day: string): void {
    for (const { record } of linesOf(day)) {
      if (registry.get(record.job_id)?.cleared) registry.forget(record.job_id);
    }
    rmSync(join(spool.archiveDir, day));
    deps.log.info({ day }, 'archive.forgotten');
  }

  function linesOf(day: string): ArchiveLine[] {
    const lines = readFileSync(join(spool.archiveDir, day), 'utf8').split('\n').slice(0, -1);
    return lines.flatMap((line) => {
      try {
        return [JSON.parse(line) as ArchiveLine];
      } catch {
        deps.log.error({ day }, 'archive.line.damaged');
        return [];
      }
    });
  }
}
