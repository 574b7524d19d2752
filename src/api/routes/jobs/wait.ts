/** `POST /v1/jobs:wait`: waits for many jobs with one request, such as all tasks of a workflow. */
import Type, { type Static } from 'typebox';
import type { Job } from '../../../job/record.ts';
import { isOver } from '../../../job/states.ts';
import { JobView, jobView } from '../../../protocol/job-view.ts';
import type { JobStore } from '../../../store/jobs.ts';
import { maySee } from '../../access.ts';
import { clientGone } from '../../client-gone.ts';
import type { Holds } from '../../holds.ts';
import type { Api } from '../../instance.ts';
import { MAX_WAIT_SECONDS } from '../../prefer.ts';
import type { Waits, Watch } from '../../waiting.ts';

export interface WaitRouteDeps {
  jobs: Pick<JobStore, 'getMany'>;
  waits: Waits;
  holds: Holds;
}

const WaitBody = Type.Object(
  {
    jobs: Type.Array(
      Type.Object(
        {
          id: Type.String({ minLength: 1, maxLength: 64, description: "The job's id." }),
          since: Type.Optional(
            Type.Integer({ minimum: 0, description: 'Wait for a version above this one, or for its end.' }),
          ),
        },
        { additionalProperties: false },
      ),
      { minItems: 1, maxItems: 1_000, description: 'The jobs to wait for.' },
    ),
    mode: Type.Unsafe<'any' | 'all'>({
      type: 'string',
      enum: ['any', 'all'],
      default: 'any',
      description: 'Answer when the first is ready, or when all are.',
    }),
    timeout_seconds: Type.Integer({
      minimum: 0,
      default: MAX_WAIT_SECONDS,
      description: 'Answer after so many seconds at the latest; 60 at most.',
    }),
  },
  { additionalProperties: false },
);

const Pending = Type.Object({
  id: Type.String(),
  state: Type.String(),
  version: Type.Integer(),
  stdout_bytes: Type.Unsafe<number | null>({ type: ['integer', 'null'], description: 'As last heard.' }),
  stderr_bytes: Type.Unsafe<number | null>({ type: ['integer', 'null'], description: 'As last heard.' }),
});

const WaitReply = Type.Object({
  ready: Type.Array(JobView, { description: 'Jobs that are over or above their `since`.' }),
  pending: Type.Array(Pending, { description: 'Jobs that are neither.' }),
  unknown: Type.Array(Type.String(), { description: 'Ids of no job, or of none that the caller may see.' }),
});

export function waitRoute(app: Api, { jobs, waits, holds }: WaitRouteDeps): void {
  app.post(
    '/v1/jobs::wait',
    {
      config: { scope: 'jobs:read' },
      schema: {
        tags: ['Jobs'],
        summary: 'Wait for many jobs at once',
        body: WaitBody,
        response: { 200: WaitReply },
      },
    },
    async (request, reply) => {
      const { body, caller } = request;
      const watches = new Map(body.jobs.map((one) => [one.id, watchFor(one)]));
      const found = await jobs.getMany([...watches.keys()]);
      const seen = found.filter((job): job is Job => job !== null && maySee(caller, job));
      const known = seen.map(({ id }) => id);
      const unknown = [...watches.keys()].filter((id) => !known.includes(id));
      const wanted = known.flatMap((id) => watches.get(id) ?? []);
      const isReady = (job: Job) => watches.get(job.id)?.ready(job) ?? false;

      if (enough(seen, isReady, body.mode) || body.timeout_seconds === 0) {
        return answer(seen, isReady, unknown);
      }
      const release = holds.take(caller.name);
      try {
        const seconds = Math.min(body.timeout_seconds, MAX_WAIT_SECONDS);
        const after = await waits.until(wanted, { seconds, mode: body.mode, signal: clientGone(reply) });
        return answer(
          after.filter((job) => job !== null),
          isReady,
          unknown,
        );
      } finally {
        release();
      }
    },
  );
}

function watchFor({ id, since }: Static<typeof WaitBody>['jobs'][number]): Watch {
  return { id, ready: ({ state, version }) => isOver(state) || (since !== undefined && version > since) };
}

/** Where no job is known there is nothing to wait for. */
function enough(jobs: Job[], isReady: (job: Job) => boolean, mode: 'any' | 'all'): boolean {
  if (jobs.length === 0) return true;
  return mode === 'any' ? jobs.some(isReady) : jobs.every(isReady);
}

function answer(jobs: Job[], isReady: (job: Job) => boolean, unknown: string[]): Static<typeof WaitReply> {
  const pending = jobs.filter((job) => !isReady(job));
  return {
    ready: jobs.filter(isReady).map((job) => jobView(job)),
    pending: pending.map(({ id, state, version, stdout_bytes, stderr_bytes }) => {
      return { id, state, version, stdout_bytes, stderr_bytes };
    }),
    unknown,
  };
}
