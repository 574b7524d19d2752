/**
 * The survey: every few seconds one process looks at all hosts with jobs and all open batches, and notes for every scrape
 * how long jobs have waited, how late questions are and how far batches have come. It changes nothing and repairs nothing:
 * that is the sweep's.
 */
import type { Logger } from 'pino';
import { decodeTime } from 'ulid';
import type { Followed } from '../store/followed.ts';
import type { JobStore } from '../store/jobs.ts';
import type { Leases } from '../store/leases.ts';
import { type Backlog, PAGE, type SurveyStore, type Whereabouts } from '../store/vitals/survey.ts';
import type { VitalsStore } from '../store/vitals.ts';

const EVERY_MS = 10_000;
/** A process that died in a survey keeps others from it for so long, in ms. */
const LEASE_MS = 30_000;
/** A survey may take so large a part of the time: with very many hosts it comes less often. */
const PART = 0.05;
/** A question is called late beyond this, in ms: a poll is woken twice a second at best. */
const LATE_MS = 5_000;
/** Records read at most to find out how long the oldest job has waited. */
const LOOKS = 200;
/** A wait that is told in the log now and then, with its host, which no metric names. */
const LONG_WAIT_MS = 60_000;
const TOLD_MS = 60_000;
const MAX_HOSTS = 100_000;

export interface SurveyLoop {
  start(): void;
  close(): Promise<void>;
}

export function createSurvey(deps: {
  survey: SurveyStore;
  followed: Pick<Followed, 'hosts'>;
  jobs: Pick<JobStore, 'get' | 'events' | 'now'>;
  leases: Pick<Leases, 'claim'>;
  vitals: Pick<VitalsStore, 'surveyed'>;
  owner: string;
  log: Logger;
}): SurveyLoop {
  const { survey, followed, jobs, leases, vitals, owner, log } = deps;
  let timer: NodeJS.Timeout | undefined;
  let surveying: Promise<void> = Promise.resolve();
  let closed = false;
  let toldAt = Number.NEGATIVE_INFINITY;

  async function look(): Promise<void> {
    if (!(await leases.claim('survey', owner, LEASE_MS))) return;
    const queues: Backlog[] = [];
    for (const hosts of pages(await survey.armedHosts())) queues.push(...(await survey.queues(hosts)));
    const waiting = {
      up: await waitingAt(queues, 'up'),
      away: await waitingAt(queues, 'away'),
      draining: await waitingAt(queues, 'draining'),
    };
    const polls = await latePolls();
    const deliveries = { lagMs: await survey.deliveryLagMs() };
    await vitals.surveyed({ waiting, polls, deliveries, batches: await survey.batches() });
  }

  async function waitingAt(queues: Backlog[], whereabouts: Whereabouts) {
    const here = queues.filter((queue) => queue.whereabouts === whereabouts);
    const { oldestMs, host } = await oldest(here);
    const isNews = performance.now() - toldAt > TOLD_MS;
    if (whereabouts === 'up' && oldestMs > LONG_WAIT_MS && isNews) {
      toldAt = performance.now();
      const jobs = here.find((queue) => queue.host === host)?.jobs;
      log.info({ host, waits_ms: oldestMs, jobs }, 'survey.long_wait');
    }
    return { jobs: here.reduce((sum, queue) => sum + queue.jobs, 0), oldestMs };
  }

  /**
   * A job cannot have waited for longer than it exists, so only the records of the oldest ones are read: until no other
   * job can have waited longer than the one that was found.
   */
  async function oldest(queues: Backlog[]): Promise<{ oldestMs: number; host: string | undefined }> {
    const now = await jobs.now();
    let since = now;
    let host: string | undefined;
    for (const queue of queues) {
      if (queue.since !== null && queue.since < since) [since, host] = [queue.since, queue.host];
    }
    const ends = queues.flatMap((queue) =>
      queue.ends.map((id) => ({ id, host: queue.host, born: bornAt(id) })),
    );
    ends.sort((one, other) => one.born - other.born);
    for (const end of ends.slice(0, LOOKS)) {
      if (end.born >= since) break;
      const from = await mayStartSince(end.id);
      if (from !== null && from < since) [since, host] = [from, end.host];
    }
    return { oldestMs: now - since, host };
  }

  async function mayStartSince(id: string): Promise<number | null> {
    const [job, events] = await Promise.all([jobs.get(id), jobs.events(id)]);
    // Put back after a failed start, it waits from then on.
    return job && Math.max(job.created_at, job.not_before ?? 0, events.at(-1)?.at ?? 0);
  }

  async function latePolls(): Promise<{ lateMs: number; lateHosts: number }> {
    const hosts = await followed.hosts(MAX_HOSTS);
    let lateMs = 0;
    let lateHosts = 0;
    for (const page of pages(hosts)) {
      for (const late of await survey.latePolls(page)) {
        lateMs = Math.max(lateMs, late.lateMs);
        if (late.lateMs > LATE_MS) lateHosts++;
      }
    }
    return { lateMs, lateHosts };
  }

  function schedule(inMs: number): void {
    if (closed) return;
    timer = setTimeout(() => {
      const began = performance.now();
      surveying = look()
        .catch((error: unknown) => log.warn({ err: error }, 'survey.failed'))
        .finally(() => schedule(Math.max(EVERY_MS, (performance.now() - began) / PART)));
    }, inMs);
  }

  return {
    start: () => schedule(1_000 * Math.random()),
    async close() {
      closed = true;
      clearTimeout(timer);
      await surveying;
    },
  };
}

function pages(hosts: string[]): string[][] {
  return Array.from({ length: Math.ceil(hosts.length / PAGE) }, (_, i) =>
    hosts.slice(i * PAGE, (i + 1) * PAGE),
  );
}

/** A job's id is `job_` and a ULID. */
function bornAt(id: string): number {
  return decodeTime(id.slice(-26));
}
