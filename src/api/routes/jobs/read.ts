/** `GET /v1/jobs/{id}`: a job, held until it changes or is over where that is asked for. */
import Type from 'typebox';
import { isOver } from '../../../job/states.ts';
import { JobView } from '../../../protocol/job-view.ts';
import type { JobStore } from '../../../store/jobs.ts';
import { visible } from '../../access.ts';
import { clientGone } from '../../client-gone.ts';
import { isUnchanged } from '../../etag.ts';
import type { Holds } from '../../holds.ts';
import type { Api } from '../../instance.ts';
import { MAX_WAIT_SECONDS } from '../../prefer.ts';
import type { Waits, Watch } from '../../waiting.ts';
import { JOB_PATH, JobParams } from './path.ts';
import { showJob } from './show.ts';

export interface ReadDeps {
  jobs: Pick<JobStore, 'get' | 'tails' | 'output'>;
  waits: Waits;
  holds: Holds;
}

const ReadQuery = Type.Object(
  {
    wait: Type.Integer({
      minimum: 0,
      default: 0,
      description: 'Hold the reply for at most so many seconds (60 at most) until the job is over, or ...',
    }),
    since: Type.Optional(
      Type.Integer({ minimum: 0, description: '... until its version is above this one.' }),
    ),
  },
  { additionalProperties: false },
);

export function readRoute(app: Api, { jobs, waits, holds }: ReadDeps): void {
  app.get(
    JOB_PATH,
    {
      config: { scope: 'jobs:read' },
      schema: {
        tags: ['Jobs'],
        summary: 'Read a job, or wait for it',
        description: 'The `ETag` is the version: with `If-None-Match` an unchanged job answers 304.',
        params: JobParams,
        querystring: ReadQuery,
        response: { 200: JobView, 304: Type.Null({ description: 'Unchanged.' }) },
      },
    },
    async (request, reply) => {
      const { id } = request.params;
      const { wait, since } = request.query;
      let job = visible(request.caller, id, await jobs.get(id));
      const watch = watchFor(id, since);
      if (wait > 0 && !watch.ready(job)) {
        const release = holds.take(request.caller.name);
        const seconds = Math.min(wait, MAX_WAIT_SECONDS);
        try {
          await waits.until([watch], { seconds, mode: 'all', signal: clientGone(reply) });
        } finally {
          release();
        }
        job = visible(request.caller, id, await jobs.get(id));
      }
      const etag = `"${job.version}"`;
      reply.header('etag', etag).header('cache-control', 'no-cache');
      if (isUnchanged(request.headers['if-none-match'], etag)) return reply.code(304).send(null);
      return reply.send(await showJob(jobs, job));
    },
  );
}

/** What is over for good never changes again: holding a request for it would be for nothing. */
function watchFor(id: string, since: number | undefined): Watch {
  if (since === undefined) return { id, ready: ({ state }) => isOver(state) };
  return { id, ready: ({ state, version }) => version > since || (isOver(state) && state !== 'lost') };
}
