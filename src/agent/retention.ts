/**
 * What the agent forgets, and when: a job's output 7 days after its end, its token 30 days after. Where the disk gets
 * tight the oldest output goes earlier, so that a flood of output does not keep the host from working for a week.
 *
 * A token that is forgotten could be started a second time, so the record outlives the directory: one line in
 * `archive/<day of the end>.jsonl`, written before the directory goes. A crash in between leaves both; the directory
 * then counts.
 */
import { closeSync, fsyncSync, openSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { rmdir, truncate } from 'node:fs/promises';
import { join } from 'node:path';
import type { JobRecord } from './job-files.ts';
import type { Logger } from './log.ts';
import type { Outcome } from './outcome.ts';
import type { Job, Registry } from './registry.ts';
import type { Spool } from './spool.ts';

const DAY_MS = 24 * 3600 * 1000;
const KEEP_OUTPUT_MS = 7 * DAY_MS;
const KEEP_RECORD_MS = 30 * DAY_MS;
/** The gateway must have had the time to read it, however tight the disk is. */
const KEEP_FRESH_OUTPUT_MS = 3600 * 1000;

interface ArchiveLine {
  record: JobRecord;
  outcome: Outcome;
}

export interface RetentionDeps {
  spool: Pick<Spool, 'archiveDir' | 'jobDir' | 'remove' | 'isTight'>;
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
      for (const job of endedBefore(now - KEEP_OUTPUT_MS)) await clear(job, 'age');
      for (const job of endedBefore(now - KEEP_FRESH_OUTPUT_MS)) {
        if (!(await spool.isTight())) break;
        await clear(job, 'disk');
      }
      for (const day of readdirSync(spool.archiveDir)) {
        // A day's last job ended up to 24 hours after its beginning.
        if (now - Date.parse(day.slice(0, 10)) >= KEEP_RECORD_MS + DAY_MS) forgetDay(day);
      }
    },
  };

  /** Those that have output, the oldest first. */
  function endedBefore(time: number): (Job & { outcome: Outcome })[] {
    const hasEnded = (job: Job): job is Job & { outcome: Outcome } =>
      job.outcome !== null && !job.cleared && Date.parse(job.outcome.endedAt) <= time;
    return [...registry.all()]
      .filter(hasEnded)
      .sort((a, b) => (a.outcome.endedAt < b.outcome.endedAt ? -1 : 1));
  }

  /** A job that cannot be cleared does not hold up the others. */
  async function clear(job: Job & { outcome: Outcome }, why: 'age' | 'disk'): Promise<void> {
    const { job_id: id } = job.record;
    try {
      if (job.record.socket === null) await makeRoom(id);
      archive(job, job.outcome);
      job.cleared = true;
      if (!(await spool.remove(id))) deps.log.warn({ job_id: id }, 'job.directory.left');
      // Left by processes that outlived their job; the kernel keeps it for as long as one of them lives.
      if (deps.cgroup) await rmdir(join(deps.cgroup, `job-${id}`)).catch(() => undefined);
      if (why === 'disk') deps.log.warn({ job_id: id }, 'job.output.cleared_early');
    } catch (error) {
      deps.log.error({ job_id: id, err: error }, 'job.output.not_cleared');
    }
  }

  /** Before the archive is written, which takes room itself; and a process that outlived its job may hold them open. */
  async function makeRoom(id: string): Promise<void> {
    for (const name of ['out.log', 'err.log']) {
      await truncate(join(spool.jobDir(id), name)).catch(() => undefined);
    }
  }

  function archive(job: Job, outcome: Outcome): void {
    const fd = openSync(join(spool.archiveDir, `${outcome.endedAt.slice(0, 10)}.jsonl`), 'a', 0o600);
    try {
      // A disk that is full may have torn the line before this one, which must not take this one along.
      writeFileSync(fd, `\n${JSON.stringify({ record: job.record, outcome } satisfies ArchiveLine)}\n`);
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
    const lines = readFileSync(join(spool.archiveDir, day), 'utf8').split('\n').filter(Boolean);
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
