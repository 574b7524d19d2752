/**
 * How jobs under the launcher are asked about. A few jobs: the agent's `/status` each, which costs the host nothing.
 * Many of one user: one `state` verb for all. The verb also decides wherever the agent's word does not count: what
 * it has forgotten, what ended without a report, and, once in a while, what it calls running, because a Base
 * agent's job stays `running` for ever after a reboot.
 */
import { setTimeout as pause } from 'node:timers/promises';
import type { DialHost } from '../../job/agent-port.ts';
import { type Job, launchToken } from '../../job/record.ts';
import { type Report, RUNNING } from '../../job/report.ts';
import { launcherCommand } from '../../protocol/launcher.ts';
import { parseLauncherReport, parseLauncherReports } from '../../protocol/launcher-report.ts';
import { askEach, askSome, isJustStarted, noAnswers } from './answers.ts';
import { baseStatus } from './base-status.ts';
import type { Answers, Driver } from './driver.ts';
import type { Exchange } from './exchange.ts';
import { translated } from './launcher-translate.ts';
import { directoryOf, runVerb } from './launcher-verb.ts';
import { invalid } from './reply.ts';

/** From so many jobs of one user on, a `state` verb (about three requests) is cheaper than a request each. */
const MANY = 5;
/** Tokens in one verb: with their tails, and all over at once, still a few MB. */
const STATE_BATCH = 100;
/** Between two looks at an unknown token: a `/run` may be on its way to its latch. */
const SECOND_LOOK_MS = 1_000;
const STATUS_BYTES = 2_097_152;

/** @param believedMs how long the agent's `running` is believed without the launcher's own word */
export function createLauncherAsk(exchange: Exchange, believedMs: number): Driver['ask'] {
  /** When a token was last seen running by the launcher itself, or first by its agent. */
  const seenRunning = new Map<string, number>();

  return async (host, jobs) => {
    const all = noAnswers();
    for (const group of Map.groupBy(jobs, (job) => `${job.job_user} ${job.launcher_dir}`).values()) {
      if (!(await askGroup(host, group, all))) break;
    }
    return all;
  };

  async function askGroup(host: DialHost, group: Job[], all: Answers): Promise<boolean> {
    if (group.length >= MANY) return askSome(all, group, () => askState(host, group, all));
    const doubtful: Job[] = [];
    const goOn = await askEach(all, group, async (job) => {
      const report = await agentsWord(host, job);
      if (!report) doubtful.push(job);
      return report;
    });
    if (!goOn || doubtful.length === 0) return goOn;
    return askSome(all, doubtful, () => askState(host, doubtful, all));
  }

  /** Null where only the launcher can tell. */
  async function agentsWord(host: DialHost, job: Job): Promise<Report | null> {
    const token = launchToken(job);
    const said = await baseStatus(exchange, host, job.agent_job_id ?? token, STATUS_BYTES);
    if (said.return_code !== null) {
      const report = said.stdout === null ? null : parseLauncherReport(said.stdout, token);
      seenRunning.delete(token);
      return report && translated(report);
    }
    if (said.status === 'unknown' || !isBelieved(token)) return null;
    return RUNNING;
  }

  async function askState(host: DialHost, jobs: Job[], all: Answers): Promise<void> {
    const open = await stateOf(host, jobs, all);
    if (open.length === 0) return;
    await pause(SECOND_LOOK_MS);
    await stateOf(host, open, all);
  }

  /** @returns the jobs whose token the launcher does not know */
  async function stateOf(host: DialHost, jobs: Job[], all: Answers): Promise<Job[]> {
    const unknown: Job[] = [];
    for (let from = 0; from < jobs.length; from += STATE_BATCH) {
      const some = jobs.slice(from, from + STATE_BATCH);
      const said = await askLauncher(host, some);
      for (const job of some) {
        const found = said.get(job);
        const report = found?.kind === 'unknown' && isJustStarted(job) ? RUNNING : found;
        if (report) all.reports.set(job.id, report);
        else all.errors.set(job.id, invalid("a job is missing in the launcher's report"));
        if (report?.kind === 'unknown') unknown.push(job);
      }
    }
    return unknown;
  }

  async function askLauncher(host: DialHost, jobs: Job[]): Promise<Map<Job, Report>> {
    const dir = directoryOf(jobs[0]!);
    const printed = await runVerb(exchange, host, {
      name: 'state',
      user: jobs[0]!.job_user,
      command: () => launcherCommand.state({ dir, tokens: jobs.map(launchToken) }),
      withinMs: 15_000 + jobs.length * 200,
      maxBytes: 65_536 + jobs.length * 45_056,
    });
    const said = parseLauncherReports(printed);
    const found = new Map<Job, Report>();
    for (const job of jobs) {
      const token = launchToken(job);
      // A refusal is about the directory, so about all of its jobs.
      const own = said.find((one) => ('token' in one && one.token === token) || one.kind === 'refused');
      const report = own && translated(own);
      if (!report) continue;
      found.set(job, report);
      if (report.kind === 'running') believe(token);
      else seenRunning.delete(token);
    }
    return found;
  }

  function isBelieved(token: string): boolean {
    const since = seenRunning.get(token);
    if (since === undefined) believe(token);
    return since === undefined || Date.now() - since < believedMs;
  }

  function believe(token: string): void {
    // Tokens of jobs that others asked about to their end stay behind; forgetting one costs one verb at most.
    if (seenRunning.size >= 20_000) seenRunning.clear();
    seenRunning.set(token, Date.now());
  }
}
