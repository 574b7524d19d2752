/** `GET /v1/jobs/{id}/explain`: why a job is where it is, what it waits for, and when it is next tried. */
import { rateOf } from '../../../job/host.ts';
import type { Job } from '../../../job/record.ts';
import type { Standing } from '../../../job/waiting-for.ts';
import { Explanation, explanationOf } from '../../../protocol/explanation.ts';
import type { BatchStore } from '../../../store/batches.ts';
import type { ReadQueue } from '../../../store/explain.ts';
import type { HostStore } from '../../../store/hosts.ts';
import type { LineStore } from '../../../store/jobs/line.ts';
import type { JobStore } from '../../../store/jobs.ts';
import { visible } from '../../access.ts';
import type { Api } from '../../instance.ts';
import { JOB_PATH, JobParams } from './path.ts';

export interface ExplainDeps {
  jobs: Pick<JobStore, 'get' | 'events'>;
  hosts: Pick<HostStore, 'get' | 'health'>;
  readQueue: ReadQueue;
  lines: Pick<LineStore, 'read'>;
  batches: Pick<BatchStore, 'get'>;
}

export function explainRoute(app: Api, { jobs, hosts, readQueue, lines, batches }: ExplainDeps): void {
  app.get(
    `${JOB_PATH}/explain`,
    {
      config: { scope: 'jobs:read' },
      schema: {
        tags: ['Jobs'],
        summary: 'Why a job is where it is',
        description:
          "What it waits for, since when, its place in its host's queue, what the host's limits and circuit say, and " +
          'when it is looked at next.',
        params: JobParams,
        response: { 200: Explanation },
      },
    },
    async ({ params: { id }, caller }) => {
      for (let look = 1; ; look++) {
        const job = visible(caller, id, await jobs.get(id));
        const standing = await standingOf(job);
        // A job that waits has a place, unless it was moved between the two reads: then the second look tells.
        if (job.state === 'queued' && standing.queue.place === null && look === 1) continue;
        return explanationOf(job, standing);
      }
    },
  );

  async function standingOf(job: Job): Promise<Standing> {
    const [config, health, events, replaced, batch] = await Promise.all([
      hosts.get(job.host),
      hosts.health(job.host),
      jobs.events(job.id),
      replacedBy(job),
      job.batch_id === null ? null : batches.get(job.batch_id),
    ]);
    const rate = config && rateOf(config, health.agent);
    const last = events.at(-1) ?? { at: job.created_at, why: job.state };
    const host = config && { ...config, rate };
    return { last, health, replaced, batch, host, ...(await readQueue(job, rate)) };
  }

  /** The job that it waits for; undefined where it holds its unique key itself, or has none. */
  async function replacedBy(job: Job): Promise<Job | null | undefined> {
    if (job.state !== 'queued' || job.unique_key === null) return undefined;
    const { holder } = await lines.read(job);
    return holder === null || holder === job.id ? undefined : jobs.get(holder);
  }
}
